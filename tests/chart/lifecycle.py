"""."""
def run_all():
    pass
