"""Files as the method's programs write them with torch.save, from the reference networks of reference.py."""
import argparse
import collections
import copy

import numpy as np
import torch
import torch.nn as nn

import family
import reference

DEMO = {"conv1": "net.0", "bn1": "net.1", "layer1": "net.3", "layer2": "net.4", "layer3": "net.5", "layer4": "net.6",
        "fc": "net.9"}


def random_encoder(config, seed=0):
    """An encoder with weights, scales, shifts and running statistics of ordinary sizes."""
    torch.manual_seed(seed)
    encoder = reference.Encoder(config)
    for name, tensor in encoder.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            tensor.uniform_(-0.3, 0.3)
        elif tensor.dim() == 1:
            tensor.uniform_(0.7, 1.2) if name.endswith("weight") else tensor.uniform_(-0.2, 0.2)
    return encoder.eval()


def random_family(config, seed):
    """The same for an encoder of family.py."""
    torch.manual_seed(seed)
    encoder = family.Encoder(config)
    for name, tensor in encoder.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            tensor.uniform_(-0.3, 0.3)
        elif name.endswith(("cls_token", "pos_embed")):
            tensor.normal_(0, 0.5)
        elif tensor.dim() == 1:
            tensor.uniform_(0.7, 1.2) if name.endswith("weight") else tensor.uniform_(-0.2, 0.2)
    for module in encoder.modules():
        if getattr(module, "affine", None) == "none":
            module.weight.data.fill_(1)
        if getattr(module, "affine", None) in ("none", "scale"):
            module.bias.data.fill_(0)
    return encoder.eval()


def family_state(encoder, count=0):
    """Published names: a last batch norm without scale or shift has no such entries."""
    gone = set()
    for name, module in encoder.body.named_modules():
        if getattr(module, "affine", None) == "none":
            gone.add(name + ".weight")
        if getattr(module, "affine", None) in ("none", "scale"):
            gone.add(name + ".bias")
    return collections.OrderedDict((n, t) for n, t in with_counters(encoder.body, count).items() if n not in gone)


def views_of(config):
    return reference.random_views(config, 3)[0]


def with_counters(encoder, count=0, counters=True):
    """The state dictionary as nn.BatchNorm2d writes it: a counter behind the running statistics."""
    state = collections.OrderedDict()
    for name, tensor in encoder.state_dict().items():
        state[name] = tensor
        if counters and name.endswith("running_var"):
            state[name[:-len("running_var")] + "num_batches_tracked"] = torch.tensor(count)
    return state


def plain(encoder):
    """The same network with PyTorch's own batch norms, as a user's program has it."""
    made = copy.deepcopy(encoder)
    for module in list(made.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, reference.GroupedBatchNorm):
                setattr(module, name, nn.BatchNorm2d(len(child.weight)))
    made.load_state_dict(with_counters(encoder))
    return made


def demo_names(state):
    renamed = collections.OrderedDict()
    for name, tensor in state.items():
        first, rest = name.split(".", 1)
        renamed[f"{DEMO[first]}.{rest}"] = tensor
    return renamed


def moco_state(query, key, queue=None, pointer=0, wrap="module.", roles=("encoder_q", "encoder_k")):
    """Entries of the model itself come first, as in a module's state dictionary."""
    state = collections.OrderedDict()
    if queue is not None:
        state[f"{wrap}queue"] = torch.as_tensor(queue)
        state[f"{wrap}queue_ptr"] = torch.tensor([pointer])
    for role, entries in zip(roles, (query, key)):
        state.update((f"{wrap}{role}.{n}", t) for n, t in (entries or {}).items())
    return state


def optimizer_state(query, key, buffers, old=False, lr=0.03, momentum=0.9, weight_decay=1e-4):
    """What torch.optim.SGD over all parameters of both encoders saves: numbers, or before PyTorch 1.6 addresses."""
    parameters = [p for encoder in (query, key) for p in encoder.parameters()]
    names = [n for n, _ in query.named_parameters()]
    optimizer = torch.optim.SGD(parameters, lr, momentum=momentum, weight_decay=weight_decay)
    for name, parameter in zip(names, parameters):
        if buffers.get(name) is not None:
            optimizer.state[parameter]["momentum_buffer"] = torch.as_tensor(buffers[name], dtype=parameter.dtype)
    state = optimizer.state_dict()
    if old:
        keys = {i: 140000000000000 + 64 * ((i * 37) % 1009) for i in range(len(parameters))}
        state["state"] = {keys[i]: entry for i, entry in state["state"].items()}
        state["param_groups"][0]["params"] = [keys[i] for i in range(len(parameters))]
    return state


def clutter():
    """What training programs put beside the tensors."""
    return {"args": argparse.Namespace(lr=0.03, name="run", betas=(0.9, 0.999), device=torch.device("cuda", 0)),
            "best_knn": np.float64(71.5), "size": torch.Size([3, 224, 224]), "seen": 2 ** 70, "dtype": torch.float32,
            "log": collections.defaultdict(list, loss=[1.5, 1.25]), "raw": b"\x00\x01", "tags": {"a", "b"},
            "deep": {"er": [None, True, ("x", 3)]}, "scaler": {}}


def save(path, value, container):
    torch.save(value, path, _use_new_zipfile_serialization=container == "zip")
    return path
