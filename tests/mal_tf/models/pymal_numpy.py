"""PyMAL's models in NumPy, float64, written from the description in shared/golden/pymal/README.md and from nothing of ours.

Parameters go by PyMAL's names; sizes are those of the arrays.
"""

import numpy as np

VIEWS = ("first", "last", "mta", "linear")
LEVELS = (2, 3, 4)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Reference:
    """One case: `probabilities()` by view, `losses()` by name."""

    def __init__(self, parameters, inputs, meta):
        self.p = {name: np.asarray(array, np.float64) for name, array in parameters.items()}
        self.inputs, self.meta = inputs, meta
        self.views = list(dict.fromkeys((meta["main_view"], *meta["aux_views"])))

    def linear(self, name, x):
        return x @ self.p[f"{name}.weight"].T + self.p.get(f"{name}.bias", 0)

    def embedded(self, feature, index):
        return self.p[f"EmbeddingTable.embs_table.{feature}.weight"][index]

    def attention(self, j, query, keys):
        heads, batch, width = 4, len(keys), keys.shape[2]
        name = f"CrossAtten.{j}.cross_attn"
        projected = []
        for block, x in enumerate((query[:, None], keys, keys)):
            rows = slice(block * width, (block + 1) * width)
            y = x @ self.p[f"{name}.in_proj_weight"][rows].T + self.p[f"{name}.in_proj_bias"][rows]
            projected.append(y.reshape(batch, -1, heads, width // heads))
        q, k, v = projected
        scores = (q * k).sum(axis=3) / np.sqrt(width // heads)  # [batch, time, heads]
        weights = softmax(scores.transpose(0, 2, 1)).transpose(0, 2, 1)
        return self.linear(f"{name}.out_proj", (weights[..., None] * v).sum(axis=1).reshape(batch, width))

    def histogram(self, name, scores):
        values = self.p[f"{name}.bin_embs"][:, 0]
        half = len(values) // 2
        bins = np.floor(np.clip(np.asarray(scores, np.float64), -0.999, 0.999) * half).astype(int) + half
        counts = np.stack([np.bincount(row, minlength=len(values)) for row in bins])
        return np.log2(counts + 1) * values

    def fused_input(self):
        user = [self.embedded(name, self.inputs["user"][:, i]) for i, name in enumerate(self.meta["user_cols"])]
        ad = [self.embedded(name, self.inputs["ad"][:, i]) for i, name in enumerate(self.meta["ad_cols"])]
        a, attended = np.concatenate(ad, axis=1), []
        for j, name in enumerate(self.meta["seq_cols"]):
            keys = self.embedded(name.removesuffix("_seq"), self.inputs["seq"][:, j])
            attended.append(self.attention(j, self.linear(f"FC.queryproj{j}", a), keys))
        d = self.histogram("DeepSetPic", self.inputs["mm"][:, 0]) + self.histogram(
            "DeepSetText", self.inputs["mm"][:, 1]
        )
        x = np.concatenate([*user, a, *attended, d], axis=1)
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        return scaled * self.p["fused_norm.weight"] + self.p["fused_norm.bias"]

    def expert(self, name, f):
        squeeze, excite = (self.p[f"EXPERT.{name}.senet.fc.{i}.weight"] for i in (0, 2))
        chunks = f.reshape(len(f), -1, squeeze.shape[1])
        scale = sigmoid(relu(chunks.mean(axis=1) @ squeeze.T) @ excite.T)
        return relu(self.linear(f"EXPERT.{name}.fc1", (chunks * scale[:, None]).reshape(f.shape)))

    def gated(self, name, f):
        low = f @ self.p[f"FEAGATE.{name}.lora_A.weight"].T
        return f * 2 * sigmoid(low @ self.p[f"FEAGATE.{name}.lora_B.weight"].T)

    def mixture(self, view, f, experts):
        weights = softmax(self.linear(f"FC.{view}gate", f))
        return sum(weights[:, [i]] * expert for i, expert in enumerate(experts))

    def bottoms(self, f):
        """h of each view."""
        model = self.meta["model"]
        if model in ("BASE", "ShareBottom", "NATAL"):
            return dict.fromkeys(self.views, self.expert("expert", f))
        if model == "MMoE":
            experts = [self.expert(f"expert{i}", f) for i in range(2)]
            return {view: self.mixture(view, f, experts) for view in self.views}
        home = model == "HoME"
        public, found = self.expert("expert0", self.gated("public0", f) if home else f), {}
        for view in self.views:
            private = self.expert(f"expert{view}0", self.gated(f"private{view}0", f) if home else f)
            found[view] = self.mixture(view, f, [public, private]) + (private if home else 0)
        return found

    def probabilities(self):
        h, main, aux = self.bottoms(self.fused_input()), self.meta["main_view"], self.meta["aux_views"]
        if self.meta["model"] in ("NATAL", "MoAE"):
            hidden, last = {view: [h[view]] for view in aux}, {}
            for view in aux:
                for level in LEVELS:
                    hidden[view].append(relu(self.linear(f"FC.{view}fc{level}", hidden[view][-1])))
                last[view] = hidden[view][-1]
            c = h[main]
            for place, level in enumerate(LEVELS, 1):
                own = self.linear(f"FC.{main}fc{level}", c)
                together = np.concatenate([own, *(hidden[view][place] for view in aux)], axis=1)
                c = relu(self.linear(f"FC.fusion{level}", together) + own)
            last[main] = c
        else:
            last = {view: h[view] for view in ((main,) if self.meta["model"] == "BASE" else self.views)}
            for view in last:
                for level in LEVELS:
                    last[view] = relu(self.linear(f"FC.{view}fc{level}", last[view]))
        return {view: softmax(self.linear(f"FC.{view}fc5", t)) for view, t in last.items()}

    def losses(self):
        labels, p = self.inputs["label"], self.probabilities()
        classes = labels | {
            "cartesian": labels["last"] + 2 * labels["first"] + 4 * labels["linear"] + 8 * labels["mta"]
        }

        def of(view):
            return -np.log(p[view][np.arange(len(p[view])), classes[view]] + 1e-8).mean()

        main = of(self.meta["main_view"])
        aux = {view: of(view) for view in self.meta["aux_views"] if view in p}
        return {"main": main, "total": main + 0.3 * sum(aux.values()), **{f"aux/{v}": loss for v, loss in aux.items()}}
