# "ModelResponse", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from dataclasses import dataclass
from typing import Optional

@dataclass
class ModelResponse:
    text: str           # Complete generated text
    success: bool       # Request success status
    error: Optional[str] = None
    status_code: Optional[int] = None
    done: bool = True   # Always True for complete responses
