"""Encodes the users of evaluated clicks as integers, with the hashes that the bootstrap draws users by."""

import numpy as np
import pandas as pd
import pyarrow as pa

from features.arrays import stable_hash


def coded(user_id: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the code 0 … U − 1 of each click's user, in the order of user ids, int64 [clicks], and the hash of each user,
    uint64 [U].
    """
    code, ids = pd.factorize(user_id, sort=True)
    return code.astype(np.int64), stable_hash(pa.array(np.asarray(ids, object), pa.string()))
