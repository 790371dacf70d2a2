"""Between a thread and the model: history.py is what the model is shown, response_items.py what becomes of its
output."""

from lambda_src.runs.conversion.history import HistoryConverter
from lambda_src.runs.conversion.images import KeptImages
from lambda_src.runs.conversion.model_events import Repairs, with_call_id
from lambda_src.runs.conversion.response_items import Answer

__all__ = ["Answer", "HistoryConverter", "KeptImages", "Repairs", "with_call_id"]
