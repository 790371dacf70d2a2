"""Conversion between threads and models: history.py makes a model's input, response_items.py handles its output."""

from lambda_src.runs.conversion.history import HistoryConverter
from lambda_src.runs.conversion.images import KeptImages
from lambda_src.runs.conversion.model_events import Repairs, with_call_id
from lambda_src.runs.conversion.response_items import Answer

__all__ = ["Answer", "HistoryConverter", "KeptImages", "Repairs", "with_call_id"]
