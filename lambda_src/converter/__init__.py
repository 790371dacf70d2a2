"""Between a thread and the model: history.py is what the model is shown, answer.py what becomes of its output."""

from lambda_src.converter.answer import KeptImages, with_own_ids
from lambda_src.converter.history import HistoryConverter
from lambda_src.converter.model_events import REPAIRS

__all__ = ["REPAIRS", "HistoryConverter", "KeptImages", "with_own_ids"]
