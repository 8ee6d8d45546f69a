"""A loop of one's own: regression, two costs at once and other optimisers. ``python own_loop.py``

It uses public names only and takes less than two minutes on two cores.
"""

import torch

import proxyless_hw as ph

torch.manual_seed(0)
space = ph.SearchSpace.load("imagenet")
pixel = ph.ExpectedLatency(space, ph.fit_predictor(ph.LatencyTable.load("pixel1")))
macs = ph.ExpectedLatency.of_macs(space)
supernet = ph.SuperNet(space, num_classes=2, seed=0)

images = torch.randn(16, 3, 64, 64)
points = torch.stack([images.mean((1, 2, 3)), images.std((1, 2, 3))], 1)

weights = torch.optim.AdamW(supernet.weight_parameters(), lr=1e-3)
alphas = torch.optim.Adam([supernet.alpha], lr=0.05, betas=(0.0, 0.999))
draw = torch.Generator().manual_seed(0)
first = pixel.value(supernet.alpha)
for step in range(12):
    choices = supernet.sample(draw)
    loss = torch.nn.functional.smooth_l1_loss(supernet(images, choices), points)
    weights.zero_grad()
    loss.backward()
    weights.step()

    choices = supernet.sample(draw)
    task_loss, gradient = supernet.alpha_gradient(
        images, points, choices, loss=torch.nn.functional.smooth_l1_loss
    )
    alphas.zero_grad()
    penalty = (pixel(supernet.alpha) / 60).log() ** 2 + (macs(supernet.alpha) / 200).log() ** 2
    penalty.backward()
    supernet.alpha.grad += gradient
    alphas.step()
assert pixel.value(supernet.alpha) < first, "two costs pull the expectation down"

best = ph.derive(supernet.probabilities, [(pixel, 60.0)], best=5)
assert len({one.choices for one in best}) == 5 and all(59.4 <= one.costs[0] <= 60 for one in best)
assert abs(pixel.score([best[0].choices])[0] - best[0].costs[0]) < 1e-9
architecture = ph.Architecture.from_choices(space, best[0].choices, num_classes=2, resolution=64)
network = ph.build_network(architecture)
assert network(images).shape == (16, 2)

alpha = torch.randn_like(supernet.alpha, dtype=torch.float64, requires_grad=True)
assert torch.autograd.gradcheck(pixel, (alpha,)) and torch.autograd.gradcheck(macs, (alpha,))
print(
    f"expected {first:.1f} -> {pixel.value(supernet.alpha):.1f} ms; derived {best[0].costs[0]:.2f} ms"
)
