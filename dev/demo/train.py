# /// script
# requires-python = ">=3.11"
# dependencies = ["mlflow==3.18.0"]
# ///
"""Predict a wine's alcohol from twelve other measurements, and log every model that was tried to MLflow.

Nothing here knows of Kubernetes. From a laptop, with a port-forward to the tracking server:

    MLFLOW_TRACKING_URI=http://localhost:7006 uv run dev/demo/train.py --alphas 0.01 0.1 1

The data is scikit-learn's own copy of the 178 wines of https://archive.ics.uci.edu/dataset/109/wine: no download.
Alcohol (% by volume) is the target because it is a quantity; the classes 0, 1 and 2 are names of cultivars.
"""

import argparse
import os

import mlflow
import pandas as pd
import sklearn
from matplotlib.figure import Figure
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import infer_signature
from sklearn.datasets import load_wine
from sklearn.linear_model import ElasticNet
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

EXPERIMENT = "wine"
MODEL = "wine-alcohol"
ALIAS = "staging"
TARGET = "alcohol"
SEED = 42
L1_RATIO = 0.5


def main() -> None:
    """Try every alpha, register the best model and call it `staging`."""
    options = read_options()
    experiment = mlflow.set_experiment(EXPERIMENT)
    tried = [log_run(alpha, options.test_size) for alpha in options.alphas]
    _, best_model = min(tried)
    version = register(best_model)
    print(f"registered {MODEL} version {version.version} as {ALIAS}", flush=True)
    if page := page_of(experiment.experiment_id):
        print(f"look at the runs: {page}", flush=True)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Train ElasticNet models on the wine data and log them to MLflow."
    )
    parser.add_argument(
        "--alphas", type=float, nargs="+", default=[0.003, 0.03, 0.1, 0.3, 1.0], help="penalties to try"
    )
    parser.add_argument("--test-size", type=float, default=0.25, help="share of the wines to test on")
    return parser.parse_args()


def page_of(experiment_id: str) -> str:
    """The page with the runs, as a browser opens it: ConfigMap mlflow-client says where. Empty if nobody does."""
    server = os.environ.get("TRACKING_SERVER_URL")
    return f"{server}/#/experiments/{experiment_id}" if server else ""


def log_run(alpha: float, test_size: float) -> tuple[float, str]:
    """Train one model and log it; return its error in % by volume, and its URI."""
    wines = load_wine(as_frame=True).frame.drop(columns="target")
    inputs, measured = wines.drop(columns=TARGET), wines[TARGET]
    train_x, test_x, train_y, test_y = train_test_split(
        inputs, measured, test_size=test_size, random_state=SEED
    )
    model = make_pipeline(StandardScaler(), ElasticNet(alpha=alpha, l1_ratio=L1_RATIO, random_state=SEED))
    model.fit(train_x, train_y)
    predicted = pd.Series(model.predict(test_x), index=test_y.index)
    rmse, r2 = root_mean_squared_error(test_y, predicted), r2_score(test_y, predicted)

    with mlflow.start_run(run_name=f"alpha={alpha:g}", tags=source_tags()):
        mlflow.log_params({"alpha": alpha, "l1_ratio": L1_RATIO, "test_size": test_size})
        mlflow.log_metrics({"rmse": rmse, "r2": r2})
        mlflow.log_figure(plot(test_y, predicted), "predicted-and-measured.png")
        uri = log_model(model, test_x, predicted)
    print(f"alpha {alpha:<5g} rmse {rmse:.3f}  r2 {r2:.3f}", flush=True)
    return rmse, uri


def source_tags() -> dict[str, str]:
    """Which code trained: in a git working tree MLflow finds out itself, elsewhere the environment says it."""
    commit = os.environ.get("GIT_COMMIT")
    return {"mlflow.source.git.commit": commit} if commit else {}


def plot(measured: pd.Series, predicted: pd.Series) -> Figure:
    """Draw predicted over measured alcohol; on the diagonal a prediction is right."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(measured, predicted, s=20, alpha=0.7)
    axes.axline((13, 13), slope=1, color="grey", linewidth=1)
    axes.set(xlabel="measured alcohol (% by volume)", ylabel="predicted alcohol (% by volume)")
    return figure


def log_model(model: Pipeline, inputs: pd.DataFrame, predicted: pd.Series) -> str:
    """Log the model with what it takes and gives; return its URI."""
    logged = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(inputs, predicted),
        input_example=inputs.head(3),
        # Left out, MLflow finds this out by loading the model once more, in another process.
        pip_requirements=[f"scikit-learn=={sklearn.__version__}", f"pandas=={pd.__version__}"],
    )
    uri: str = logged.model_uri
    return uri


def register(model_uri: str) -> ModelVersion:
    """Make the model a new version of the registered model, and let the alias point to it."""
    version = mlflow.register_model(model_uri, MODEL)
    mlflow.MlflowClient().set_registered_model_alias(MODEL, ALIAS, version.version)
    return version


if __name__ == "__main__":
    main()
