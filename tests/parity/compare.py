"""How two sets of tensors are compared, and how a script reports. Reasons for the tolerances: docs/numerics.md."""
import numpy as np

FLOOR = 1e-6  # rms below which a tensor counts as vanished: errors are then measured against this rms
OWN_FACTOR = 2.0  # our error against float64 may be this many times PyTorch float32's own
OWN_FLOOR = 1e-6  # root-sum-square below which PyTorch's own error is not a fair yardstick


def relative(a, b, floor=FLOOR):
    """||a-b|| / ||b||, with ||b|| at least floor * sqrt(numel)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        return np.inf
    error = np.linalg.norm((a - b).ravel()) / max(np.linalg.norm(b.ravel()), floor * np.sqrt(b.size))
    return float(error) if np.isfinite(error) else np.inf


def kind_of(name):
    """The group a tensor of a checkpoint is reported under."""
    if name.startswith("optimizer."):
        return "momentum buffers"
    if name.startswith("queue"):
        return "queue"
    which = "query" if name.startswith("encoder_q.") else "key"
    return f"{which} " + ("running statistics" if "running_" in name else "parameters")


def rss(errors):
    return float(np.sqrt(sum(e * e for e in errors)))


class Verdict:
    """Collects checks, prints a line for each, ends with the exit status."""

    def __init__(self, title):
        self.title, self.checks, self.failed = title, 0, []

    def true(self, name, condition):
        self.checks += 1
        print(f"  {'ok  ' if condition else 'FAIL'} {name}", flush=True)
        if not condition:
            self.failed.append(name)

    def quiet(self, name, condition):
        """A check that prints only when it fails."""
        self.checks += 1
        if not condition:
            self.failed.append(name)
            print(f"  FAIL {name}", flush=True)

    def close(self, name, a, b, tolerance, floor=FLOOR):
        error = relative(a, b, floor)
        self.true(f"{name}: {error:.1e} (at most {tolerance:.0e})", error <= tolerance)

    def tensors(self, name, ours, exact, own, tolerance, floor=FLOOR):
        """`ours` and PyTorch float32's runs in `own` (a list of dicts) against `exact`; every tensor and the whole.

        With several runs in `own`, the worst of them is PyTorch's own error."""
        if set(ours) != set(exact):
            self.true(f"{name}: same tensors ({sorted(set(ours) ^ set(exact))[:4]} in one only)", False)
            return
        errors = {n: relative(ours[n], exact[n], floor) for n in exact}
        theirs = [{n: relative(run[n], exact[n], floor) for n in exact} for run in own]
        worst = max(errors, key=errors.get)
        peer_worst = max(max(e.values()) for e in theirs)
        total, peer = rss(errors.values()), max(rss(e.values()) for e in theirs)
        self.true(f"{name}: {len(errors)} tensors, worst {errors[worst]:.1e} {worst} (PyTorch float32 {peer_worst:.1e},"
                  f" at most {tolerance:.0e})", errors[worst] <= tolerance)
        self.true(f"{name}: root-sum-square {total:.1e}, PyTorch float32 {peer:.1e}, ratio {total / max(peer, 1e-30):.2f}"
                  f" (at most {OWN_FACTOR:g})", total <= max(OWN_FACTOR * peer, OWN_FLOOR))

    def finish(self):
        print(f"{self.title}: {self.checks - len(self.failed)} of {self.checks} checks hold")
        for name in self.failed:
            print(f"  failed: {name}")
        return 1 if self.failed else 0
