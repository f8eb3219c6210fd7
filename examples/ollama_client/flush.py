# "2. Use flush=True for Real-time Display", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from given import chunk

# Good - immediate display
print(chunk.text, end='', flush=True)

# Bad - buffered output
print(chunk.text, end='')
