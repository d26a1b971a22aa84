#!/usr/bin/env bash
# The A/B replay of docs/results.md from nothing: logs, one run of four models per primary target and seed, the replay.
# Run it in the project's environment; it takes 25 to 40 minutes on 2 cores, and goes on where it was stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
logs=runs/replay/logs
[[ -e $logs/config.yaml ]] ||
  mal-tf simulate examples/simulation/market.yaml --output $logs --set clicks=1500000 --set users=150000 --set eval_days=4
for seed in 1 2 3; do
  for primary in last mta; do
    mal-tf export $logs/config.yaml --output "runs/replay/$primary-$seed" \
      --set "model.primary=$primary" --set "seed=$seed" --set 'model.compare_with=[base, shared_bottom, moae]' \
      --set 'attribution.mechanisms=[{name: first, type: first}, {name: last, type: last}, {name: linear, type: linear}, {name: mta, type: shapley}]' \
      --set features.14.length=10 --set features.15.length=10 --set features.16.length=10 \
      --set model.embedding_dim=8 --set 'model.attention_units=[16]' --set 'model.bottom_units=[64, 32]' \
      --set 'model.expert_units=[64, 32]' --set 'model.tower_units=[32, 16]' --set 'model.fusion_units=[32]' \
      --set training.batch_size=2048
  done
done
mal-tf replay examples/replay/market.yaml
