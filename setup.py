"""Packaging of mal-tf, which Dataflow workers can install with `--setup_file=./setup.py`.

The version ranges admit both supported sets of dependencies: A (TensorFlow 2.16, TFDV 1.16), which requirements.lock pins, and
B (TensorFlow 2.21, TFDV 1.21, glibc >= 2.39).
"""

import pathlib

import setuptools

ROOT = pathlib.Path(__file__).parent

setuptools.setup(
    name="mal-tf",
    version="0.1.0",
    description="Conversion-rate models by multi-attribution learning: logs in, SavedModel out.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=setuptools.find_packages(include=["features*", "mal_tf*", "pipelines*"]),
    package_data={
        "features": ["py.typed"],
        "mal_tf": ["py.typed"],
        "pipelines": ["py.typed"],
        "pipelines.report": ["*.html", "*.css"],
    },
    python_requires=">=3.10,<3.14",
    install_requires=[
        "apache-beam[gcp]>=2.53,<3",
        "dill>=0.3.1",  # tfx-bsl imports it and does not declare it
        "fastavro>=1.4,<2",  # Avro logs
        "google-crc32c>=1.1,<2",
        "isal>=1.7.1,<2",  # compression of TFRecords; without it, zlib
        "jinja2>=3.1,<4",  # the report
        "matplotlib>=3.8,<4",  # plots in the report
        "ml-metadata>=1.16,<1.22",
        "numpy>=1.22,<3",
        "optuna>=4,<5",  # mal-tf tune
        "pandas>=1.5,<3",
        "pyarrow>=10,<24",
        "pyarrow-hotfix>=0.6",
        "pydantic>=2.12,<3",
        "pyyaml>=6,<7",
        "rich>=13,<16",
        "scipy>=1.12,<2",  # isotonic regression
        "setuptools<81",  # tensorflow-recommenders and others still import pkg_resources
        "tensorboard>=2.16,<2.22",
        "tensorflow>=2.16.2,<2.22",
        "tensorflow-data-validation>=1.16.1,<1.22",
        "tensorflow-metadata>=1.16.1,<1.22",
        "tensorflow-recommenders>=0.7.7,<0.8",
        "tensorflow-serving-api>=2.16.1,<3",
        "tf-keras>=2.16,<2.22",
        "tfx-bsl>=1.16.1,<1.22",
        "typer>=0.12,<1",
    ],
    extras_require={
        "test": [
            "deltalake>=1.6,<2",
            "duckdb>=1.1,<2",  # benchmarks/duckdb_labels.py
            "hypothesis>=6.100",
            "mypy>=2",
            "pyiceberg>=0.11,<1",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.6",
            "scikit-learn>=1.4",
            "types-protobuf",
            "types-pyyaml",
        ],
        # The TFX runner (docs/retraining.md), locked in requirements-tfx.lock. With dependencies A, install it by uv: TFX 1.16
        # declares Python < 3.11, because of which pip refuses to install it.
        "tfx": ["tfx[kfp]>=1.16,<1.22"],
        # s3:// (docs/stores.md), which is not locked.
        "s3": ["boto3>=1.28,<2"],
        # Delta and Iceberg tables (docs/lakes.md). Neither needs pyarrow itself, so that both go with either line.
        "delta": ["deltalake>=1.6,<2"],
        "iceberg": ["pyiceberg>=0.11,<1", "fsspec"],
        # Other runtimes for models (docs/serving.md), which are not locked.
        "onnx": ["onnx<=1.18", "onnxruntime", "tf2onnx>=1.17,<2"],
        "openvino": ["openvino"],
    },
    entry_points={"console_scripts": ["mal-tf=pipelines.cli:main"]},
)
