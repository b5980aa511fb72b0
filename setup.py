"""Packaging of air_tf."""

from pathlib import Path

from setuptools import find_packages, setup

_SERVING = [
    "grpcio>=1.62,<2",
    "protobuf>=6.31.1,<8",
    "requests>=2.31,<3",
    "tensorflow-serving-api>=2.19,<2.22",
]
_EDGE = ["ai-edge-litert>=2.1,<2.4"]

setup(
    name="air_tf",
    version="0.1.0",
    description=(
        "Attend, Infer, Repeat in TensorFlow 2: counts, locates and encodes the "
        "objects in pictures without labels"
    ),
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["air_tf", "air_tf.*"]),
    package_data={
        "air_tf": ["py.typed"],
        "air_tf.data.multi_mnist": ["*.md", "*.bib", "*.txt", "*.tsv"],
        "air_tf.data.multi_digits": ["*.md", "*.bib", "*.txt", "*.tsv"],
        "air_tf.data.multi_omniglot": ["*.md", "*.bib", "*.txt", "*.tsv"],
        "air_tf.data.sprites": ["*.md", "*.bib", "*.txt", "*.tsv"],
    },
    python_requires=">=3.10,<3.14",
    install_requires=[
        "absl-py>=2.1,<3",
        # TFDS' own; without a bound, Python 3.10's pip searches for very long.
        "etils>=1.10,<1.14; python_version < '3.11'",
        "importlib_resources>=6.0,<8",
        "matplotlib>=3.8,<4",
        "numpy>=1.26,<3",
        "Pillow>=10.1,<14",
        "requests>=2.31,<3",
        "scikit-learn>=1.4,<2",
        "scipy>=1.11,<2",
        "tensorboard>=2.21,<2.22",
        "tensorflow>=2.21,<2.22",
        "tensorflow-datasets>=4.9.9,<4.10",
        "tensorflow-probability>=0.25,<0.26",
        "keras>=3.12,<3.16",
        "tf-keras>=2.21,<2.22",
    ],
    extras_require={
        "serving": _SERVING,
        "edge": _EDGE,
        "test": [
            *_SERVING,
            *_EDGE,
            "dill>=0.3.8,<1",
            # 9.2 loses the groups of pytest-xdist 3.8.
            "pytest>=8,<9",
            "pytest-xdist>=3.5,<4",
            "ruff>=0.8,<1",
            "selenium>=4.20,<5",
        ],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
