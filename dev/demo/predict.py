# /// script
# requires-python = ">=3.11"
# dependencies = ["mlflow==3.18.0"]
# ///
"""Predict the alcohol of a few wines with the model that has the alias `staging`, whoever trained it and when.

    MLFLOW_TRACKING_URI=http://localhost:7006 uv run dev/demo/predict.py

The model may have seen some of these wines in training: this shows that it answers, not how well.
"""

import mlflow
from sklearn.datasets import load_wine

MODEL = "wine-alcohol"
ALIAS = "staging"
TARGET = "alcohol"
WINES = [0, 70, 140]


def main() -> None:
    """Print predicted and measured alcohol, one wine per line."""
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}@{ALIAS}")
    wines = load_wine(as_frame=True).frame.drop(columns="target").loc[WINES]
    predicted = model.predict(wines.drop(columns=TARGET))
    print(f"predictions of {MODEL}@{ALIAS}, trained by run {model.metadata.run_id}")
    for wine, alcohol in zip(wines.itertuples(), predicted, strict=True):
        print(f"wine {wine.Index:<4} predicted {alcohol:.2f} %  measured {wine.alcohol:.2f} %")


if __name__ == "__main__":
    main()
