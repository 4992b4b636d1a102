"""How much memory a study's trials may take."""

from widelimit.training.memory import device_memory


def check_device_memory(caller: str, needed: float | int, what: str, cure: str) -> None:
    """Raise, with the cure, if the device has less memory than a trial needs.

    Args:
        caller: Function to name.
        needed: Bytes.
        what: What they are for.
        cure: What to do, as a sentence.

    Raises:
        ValueError: If they do not fit.
    """
    have = device_memory()
    if have is not None and needed > have:
        raise ValueError(
            f"`{caller}` needs about {needed / 2**30:.3g} GiB for {what}. Got "
            f"{have / 2**30:.3g} GiB. {cure}"
        )
