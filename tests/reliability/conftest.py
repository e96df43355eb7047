import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # rewards of one's own are found by module name
