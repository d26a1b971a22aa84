"""Users of evaluated clicks: their codes, and the hashes that the bootstrap draws them by."""

import numpy as np
import pandas as pd
import pyarrow as pa

from features.arrays import stable_hash


def coded(user_id: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Codes 0 … U − 1 of the clicks' users, in the order of their ids, int64 [clicks], and their hashes, uint64 [U]."""
    code, ids = pd.factorize(user_id, sort=True)
    return code.astype(np.int64), stable_hash(pa.array(np.asarray(ids, object), pa.string()))
