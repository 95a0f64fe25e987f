def unavailable() -> str:
    return "the native step is not built"
