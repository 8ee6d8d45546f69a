"""What known benchmark tools print, with figures put in: layouts for tests."""

from __future__ import annotations

TRTEXEC = """\
[I] === Performance summary ===
[I] Throughput: 468.2 qps
[I] Latency: min = 2.09 {unit}, max = 4.4 {unit}, mean = 2.2 {unit}, median = 2.13 {unit}, \
percentile(99%) = 3.11 {unit}
[I] Enqueue Time: min = 0.8 {unit}, max = 3.7 {unit}, mean = 0.97 {unit}, median = 0.9 {unit}
[I] GPU Compute Time: min = 2.06 {unit}, max = 4.37 {unit}, mean = 2.17 {unit}, \
median = {value} {unit}, percentile(99%) = 3.08 {unit}
[I] D2H Latency: min = 0.0039 ms, max = 0.012 ms, mean = 0.0049 ms, median = 0.0046 ms
[I] Total GPU Compute Time: 2.9512 s
"""
TRTEXEC_7 = """\
[I] Host Latency
[I] min: 2.09 ms (end to end 2.2 ms)
[I] median: 2.13 ms (end to end 2.3 ms)
[I] throughput: 0 qps
[I] walltime: 3 s
[I] Enqueue Time
[I] min: 0.8 ms
[I] median: 0.9 ms
[I] GPU Compute
[I] min: 2.06 {unit}
[I] max: 4.37 {unit}
[I] mean: 2.17 {unit}
[I] median: {value} {unit}
[I] percentile: 3.08 {unit} at 99%
[I] total compute time: 2.95 s
"""
BENCHMARK_APP = """\
[ INFO ] Compile model took 28.83 ms
[ INFO ]   INFERENCE_PRECISION_HINT: <Type: 'bfloat16'>
[ INFO ]   PERFORMANCE_HINT: LATENCY
[ INFO ] First inference took 0.99 ms
[Step 11/11] Dumping statistics report
[ INFO ] Execution Devices:['CPU']
[ INFO ] Count:            5320 iterations
[ INFO ] Duration:         10003.11 ms
[ INFO ] Latency:
[ INFO ]    Median:        {value} {unit}
[ INFO ]    Average:       1.88 {unit}
[ INFO ]    Min:           1.80 {unit}
[ INFO ]    Max:           6.02 {unit}
[ INFO ] Throughput:       531.83 FPS
"""
PERF_TEST = """\
Session creation time cost: 2.74716 s
First inference time cost: 85 ms
Total inference time cost: 6.22935 s
Total inference requests: 100
Average inference time cost: 62.2935 ms
Total inference run time: 6.23146 s
Number of inferences per second: 16.0476
Avg CPU usage: 38 %
Peak working set size: 114294784 bytes
Min Latency: 0.0529422 s
Max Latency: 0.0912857 s
P50 Latency: {value} {unit}
P90 Latency: 0.0741593 s
P999 Latency: 0.0912857 s
"""
BENCHNCNN = """\
loop_count = 8
num_threads = 1
powersave = 0
gpu_device = -1
cooling_down = 1
               model  min =    2.62  max =    2.73  avg =    {value}
"""
HAILORTCLI = """\
Starting Measurements...
Measuring FPS in HW-only mode
Network yolov8s/yolov8s: 100% | 1551 | FPS: 309.77 | ETA: 00:00:00
Measuring HW Latency
Network yolov8s/yolov8s: 100% | 520 | HW Latency: 6.66 ms | ETA: 00:00:00

=======
Summary
=======
FPS     (hw_only)                 = 309.58
        (streaming)               = 309.441
Latency (hw)                      = {value} {unit}
"""
IREE = """\
2026-01-02T03:04:05+00:00
Running iree-benchmark-module
Run on (2 X 2400 MHz CPU s)
Load Average: 2.21, 1.93, 3.34
---------------------------------------------------------------------------------
Benchmark                             Time             CPU   Iterations UserCounters...
---------------------------------------------------------------------------------
BM_main/process_time/real_time      {value} {unit}        0.120 ms         8000 items_per_second=11
"""
IREE_REPEATED = """\
Running iree-benchmark-module
Benchmark                             Time             CPU   Iterations UserCounters...
BM_main/process_time/real_time             9.10 ms        0.120 ms         8000 items_per_second=11
BM_main/process_time/real_time             9.30 ms        0.120 ms         8000 items_per_second=11
BM_main/process_time/real_time_mean        9.20 ms        0.120 ms            2 items_per_second=11
BM_main/process_time/real_time_median      {value} {unit}        0.120 ms            2
BM_main/process_time/real_time_stddev      0.01 ms        0.001 ms            2
BM_main/process_time/real_time_cv          0.1 %          0.1 %             2
"""
IREE_JSON = """\
Running iree-benchmark-module
{{
  "context": {{"date": "2026-01-02", "num_cpus": 2}},
  "benchmarks": [
    {{"name": "BM_main/real_time", "run_type": "iteration", "iterations": 10,
      "real_time": {value}, "cpu_time": 5.0, "time_unit": "{unit}"}}
  ]
}}
"""
BENCHMARK_MODEL = """\
INFO: The input model file size (MB): 4.1
INFO: Initialized session in 31.2ms.
INFO: count=25 first=21210 curr=20110 min=1 max=9e9 avg=20150.2 std=310 p5=1 median=20100 p95=9e9
INFO: count=50 first=20140 curr=20090 min=1 max=9e9 avg=20099.5 std=120 p5=1 median={value} p95=9e9
INFO: Inference timings in us: Init: 31200, First inference: 21210, Warmup (avg): 20150.2, \
Inference (avg): 20099.5
"""
LITERT_BENCHMARK = """\
2026-11-26 17:17:12 INFO benchmark_litert_model: Model:           m.tflite
2026-11-26 17:17:12 INFO benchmark_litert_model: Accelerators:    {accelerators}
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.

========================================
 BENCHMARK RESULTS
========================================
Model initialization:  1.45 ms
Warmup (first):        9.08 ms
Warmup (avg):          9.02 ms (5 runs)
Inference (avg):       6.03 ms (50 runs)
Inference (min):       5.00 ms
Inference (max):       9.00 ms
Inference (median):    {value} ms
Inference (std):       0.10 ms
Inference (p95):       8.00 ms
Fully accelerated:     True
========================================
"""

LAYOUTS: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    # layout: tool, text, units it prints, statistic
    "trtexec": ("trtexec", TRTEXEC, ("ms", "us", "s"), "median"),
    "trtexec of TensorRT 7": ("trtexec", TRTEXEC_7, ("ms",), "median"),
    "benchmark_app": ("benchmark_app", BENCHMARK_APP, ("us", "ms", "s", "ns"), "median"),
    "benchmark_app before 2022": (
        "benchmark_app",
        "[Step 11/11] Dumping statistics report\nCount:      100 iterations\n"
        "Duration:   500.0 ms\nLatency:    {value} {unit}\nThroughput: 200 FPS\n",
        ("ms",),
        "median",
    ),
    "benchmark_app with another percentile": (
        "benchmark_app",
        BENCHMARK_APP.replace("Median: ", "95 percentile: ")
        .replace("{value}", "9.9")
        .replace("1.88", "{value}"),
        ("us", "ms"),
        "mean",
    ),
    "onnxruntime_perf_test": ("onnxruntime_perf_test", PERF_TEST, ("s", "ms"), "median"),
    "onnxruntime_perf_test without percentiles": (
        "onnxruntime_perf_test",
        "First inference time cost: 85 ms\nAverage inference time cost total: {value} {unit}\n",
        ("ms",),
        "mean",
    ),
    "benchncnn": ("benchncnn", BENCHNCNN, ("ms",), "mean"),
    "hailortcli": ("hailortcli", HAILORTCLI, ("ms",), "mean"),
    "iree-benchmark-module": ("iree-benchmark-module", IREE, ("us", "ms", "ns", "s"), "mean"),
    "iree repeated": ("iree-benchmark-module", IREE_REPEATED, ("us", "ms", "ns"), "median"),
    "iree as JSON": ("iree-benchmark-module", IREE_JSON, ("us", "ms", "ns"), "mean"),
    "benchmark_model": ("benchmark_model", BENCHMARK_MODEL, ("us",), "median"),
    "litert-benchmark": (
        "litert-benchmark",
        LITERT_BENCHMARK.replace("{accelerators}", "CPU"),
        ("ms",),
        "median",
    ),
    "litert-benchmark --result_json": (
        "litert-benchmark",
        '{{\n "accelerators": [\n  "CPU"\n ],\n "latency": {{\n  "init_ms": 1.45,\n'
        '  "median_ms": {value},\n  "num_runs": 50\n }}\n}}\n',
        ("ms",),
        "median",
    ),
}
