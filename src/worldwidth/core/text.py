"""Numbers as text for people."""


def bytes_text(count: float) -> str:
    """Bytes in powers of 1000, three digits: ``12.3 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.4g} TB"
