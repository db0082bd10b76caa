"""Rules for networks."""

from __future__ import annotations

import torch

from unlearnbench.conformance.case import Odd, RaisedError
from unlearnbench.conformance.model_case import ModelCase
from unlearnbench.conformance.rulings import Ruling, failed, passed

TOLERANCE = 1e-6  # over four steps of training in float64
SAME = 1e-5  # of float32 logits: one image alone and among others, whose sums may be ordered differently


def builds(case: ModelCase) -> Ruling:
    """`build` gives a module that answers about images."""
    *refused, (shape, classes, found) = case.tried
    if isinstance(found, RaisedError):
        first = next(error for _, _, error in case.tried if isinstance(error, RaisedError))
        raise first
    shown = "x".join(map(str, shape))
    if isinstance(found, Odd):
        return failed(f"on {shown} images it answered {found.type} {found.shown}", "return logits, a tensor f32[B, Y]")
    if found.shape != [5, classes] or found.dtype != "float32":
        what = f"about 5 images of {classes} classes it answered {found.dtype}{found.shape}"
        return failed(what, f"return logits, float32[5, {classes}]")
    smaller = ", ".join("x".join(map(str, one)) for one, _, _ in refused)
    return passed(f"images {shown}" + (f"; it does not take {smaller}" if smaller else ""))


def each_image_alone(case: ModelCase) -> Ruling:
    """In evaluation an image's logits depend on no other image, and the images are left as they were."""
    if not torch.equal(case.first["images"], case.first["images_left"]):
        return failed("it wrote into the images", "work on copies: x = x * 2, not x *= 2")
    apart = _apart(case.first["logits"][:1], case.first["alone"])
    if apart <= SAME:
        return passed()
    what = f"the logits of an image alone and among others differ by {apart:.1e}"
    return failed(what, "use no statistics of the batch in evaluation mode")


def has_what_it_declares(case: ModelCase) -> Ruling:
    """`features` and `posterior` are there, and classifying them is what calling the network does."""
    if not (case.facts["features"] or case.facts["posterior"]):
        return passed("no representation")
    z, found = case.first["z"], case.first
    if z.dim() != 2 or len(z) != 5:
        return failed(f"encode gives {list(z.shape)} for 5 images", "return f32[B, J]")
    if "scale" in found and (found["scale"].shape != z.shape or not bool((found["scale"] > 0).all())):
        return failed("the scale of p(Z|x) is not positive, or not of the mean's shape", "use softplus plus 1e-6")
    if _apart(found["classified"], found["logits"]) > SAME:
        return failed("classify(encode(images)) is not what calling the network gives", "let forward call both")
    return passed(f"{'posterior' if case.facts['posterior'] else 'features'}, J = {z.shape[1]}")


def initialised_by_seed(case: ModelCase) -> Ruling:
    """The same seed gives the same weights."""
    names = [name.partition(".")[2] for name in case.first if name.startswith("initial.")]
    for name in names:
        if not torch.equal(case.first[f"initial.{name}"], case.first[f"same.{name}"]):
            what = f"{name} starts with other values when the network is built again with the same seed"
            return failed(
                what, "draw initial weights with torch's functions, not with numpy's or a generator of its own"
            )
    if all(torch.equal(case.first[f"initial.{name}"], case.first[f"other.{name}"]) for name in names):
        return passed("every seed gives the same weights")
    return passed()


def copies(case: ModelCase) -> Ruling:
    """Its state dict, and a stack of models, give the same network again."""
    for name, what in (("restored", "load_state_dict(state_dict())"), ("stacked", "a copy by its named parameters")):
        if not torch.equal(case.first[name], case.first["logits"]):
            advice = "keep all that the outputs depend on in parameters and buffers"
            return failed(f"{what} gives another network", advice)
    return passed()


def moves(case: ModelCase) -> Ruling:
    """All its tensors are parameters or buffers, which move to a GPU and to other types."""
    if case.details["loose"]:
        what = f"{', '.join(map(str, case.details['loose']))}: a plain attribute, which stays where it is"
        return failed(what, "register it: self.register_buffer(name, value)")
    if case.details["stays"]:
        what = f"moved to another device it uses a tensor of the CPU: {case.details['stays']}"
        return failed(what, "make constants with device=images.device, or register them as buffers")
    return passed()


def together_is_alone(case: ModelCase) -> Ruling:
    """Models trained together equal those trained alone, within 1e-6 in float64. In float32 Adam turns rounding into
    steps wherever a gradient is close to zero: that difference is shown and not judged."""
    found = {}
    for dtype in ("float64", "float32"):
        tensors = case.together(dtype)
        names = [name.partition(".")[2] for name in tensors if name.startswith("all.")]
        found[dtype] = max(_apart(tensors[f"all.{name}"], tensors[f"one.{name}"]) for name in names)
    if not found["float64"] <= TOLERANCE:
        apart = found["float64"]
        what = f"two models trained together and each alone differ by {apart:.1e} in float64, over {TOLERANCE:g}"
        return failed(what, "keep nothing on the module between calls but buffers")
    modes = [mode for mode, looped in zip(("training", "evaluation"), case.details["looped"], strict=True) if looped]
    how = f"one after the other in {' and '.join(modes)}: torch.func can't vectorise it" if modes else "vectorised"
    apart_in = ", ".join(f"{apart:.1e} in {dtype}" for dtype, apart in found.items())
    return passed(f"{how}; largest difference {apart_in}")


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0
