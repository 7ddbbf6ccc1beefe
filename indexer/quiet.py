"""Keep messages of transformers and sentence-transformers off the user's terminal."""

import logging


def hush() -> None:
    """Hide the progress bars and warnings of both libraries. Errors are still shown."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
