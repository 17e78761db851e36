"""PyTorch networks whose sums run in another order: equal in mathematics, another draw of float32's rounding.

Every convolution and every linear layer takes its input channels, its output channels and its rows in an order drawn for
it, and gives its result back in the usual one. So the sums of the forward (over input channels), of the gradient of the
input (over output channels) and of the gradient of the weight (over rows) are added up differently. Parameters keep
their names and shapes.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


# The float32 runs that are PyTorch's yardstick: memory layout and order (0: as written) of each.
DRAWS = [(torch.contiguous_format, 0), (torch.channels_last, 0)] + [(torch.contiguous_format, n) for n in (1, 2, 3, 4)]
ORDERS = [(torch.contiguous_format, n) for n in range(6)]  # where a layout changes nothing


class Orders:
    """Where the channels and rows of one layer go."""

    def __init__(self, inputs, outputs, seed):
        self.seed, self.rows = seed, {}
        self.inputs, self.outputs = self.draw(inputs), self.draw(outputs)
        self.back = torch.argsort(self.outputs)

    def draw(self, count):
        return torch.randperm(count, generator=torch.Generator().manual_seed(self.seed + count))

    def of_rows(self, count):
        if count not in self.rows:
            order = self.draw(count)
            self.rows[count] = order, torch.argsort(order)
        return self.rows[count]


class Conv2d(nn.Conv2d):
    def forward(self, x):
        o, (rows, back) = self.orders, self.orders.of_rows(len(x))
        bias = None if self.bias is None else self.bias[o.outputs]
        y = F.conv2d(x[rows][:, o.inputs], self.weight[o.outputs][:, o.inputs], bias, self.stride, self.padding)
        return y[:, o.back][back]


class Linear(nn.Linear):
    def forward(self, x):
        o, (rows, back) = self.orders, self.orders.of_rows(len(x))
        bias = None if self.bias is None else self.bias[o.outputs]
        return F.linear(x[rows][..., o.inputs], self.weight[o.outputs][:, o.inputs], bias)[..., o.back][back]


def reorder(module, order):
    """Turns the layers of `module` into ones that add up in orders drawn from `order`; 0 leaves them. Returns the module."""
    for number, layer in enumerate(module.modules() if order else ()):
        for plain, turned in ((nn.Conv2d, Conv2d), (nn.Linear, Linear)):
            if type(layer) is plain:
                layer.__class__ = turned
                layer.orders = Orders(layer.weight.shape[1], layer.weight.shape[0], 1_000_003 * order + 8191 * number)
    return module
