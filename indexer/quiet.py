"""Keeps what transformers and sentence-transformers say of their own doings off a user's terminal."""

import logging


def hush() -> None:
    """Their progress bars and warnings are not shown; errors are."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
