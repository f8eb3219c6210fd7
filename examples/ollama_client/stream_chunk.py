# "StreamChunk", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from dataclasses import dataclass
from typing import Optional

@dataclass
class StreamChunk:
    text: str           # Text content of this chunk
    done: bool          # Whether this is the final chunk
    error: Optional[str] = None  # Error message if any
