"""Coverage-guided fuzzing of one form with atheris: run by test_fuzz_atheris.py, or by hand.

    python tests/fuzz/atheris_parsers.py FORM FOLDER -atheris_runs=20000 -seed=1

FOLDER takes the corpus, and a file ``crash-...`` for a finding. The code of the package is
instrumented, so that inputs which reach new code are kept and mutated further.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["proxyless_hw"]):
    import fuzz_targets


def main() -> None:
    """Fuzzes until the runs are done (exit 0) or a finding ends the process (another exit code)."""
    name, folder, *options = sys.argv[1:]
    corpus, work = Path(folder) / "corpus", Path(folder) / "work"
    for place in (corpus, work):
        place.mkdir(parents=True, exist_ok=True)
    from fuzz_strategies import SAMPLES, WORDS

    for index, sample in enumerate(SAMPLES[name]):
        (corpus / f"sample-{index}").write_text(sample, encoding="utf-8")
    words = sorted({word for word in WORDS if 0 < len(word) <= 64 and word.isprintable()})
    dictionary = Path(folder) / "words.txt"
    dictionary.write_text("".join(f'"{_quoted(word)}"\n' for word in words), encoding="ascii")
    arguments = [
        *(sys.argv[0], str(corpus), f"-dict={dictionary}", f"-artifact_prefix={folder}/"),
        *("-max_len=8192", "-len_control=0", "-rss_limit_mb=4096", "-timeout=60", *options),
    ]
    atheris.Setup(arguments, lambda content: fuzz_targets.attempt(name, content, work) and None)
    atheris.Fuzz()


def _quoted(word: str) -> str:
    """libFuzzer's form: quotes and backslashes escaped, other bytes in hexadecimal."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}"
        for byte in word.encode()
    )


if __name__ == "__main__":
    main()
