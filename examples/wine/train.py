"""Predict a wine's alcohol from twelve other measurements; each penalty that is tried becomes a run in MLflow.

Each run says what it was made from: parameters, the commit of the code, and DVC's hash of the data. So somebody else gets
the same code by `git checkout`, the same data by `dvc pull`, and the same numbers by `dvc repro`.
"""

import json
from pathlib import Path
from typing import Any

import dvc.api
import mlflow
import pandas as pd
import sklearn
import yaml
from matplotlib.figure import Figure
from mlflow.models import infer_signature
from sklearn.linear_model import ElasticNet
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

DATA = Path("data/wines.csv")
EXPERIMENT = "wine"
MODEL = "wine-alcohol"
ALIAS = "champion"
TARGET = "alcohol"
SECONDS_BETWEEN_SAMPLES = 1
"""Of processor and memory: a run here is over after seconds."""


def main() -> None:
    """Log a run for each penalty, register the best model and call it `champion`."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    wines, data_hash = pd.read_csv(DATA), hash_of_data()
    mlflow.set_experiment(EXPERIMENT)
    mlflow.set_system_metrics_sampling_interval(SECONDS_BETWEEN_SAMPLES)
    tried = [log_run(wines, data_hash, alpha, params) for alpha in params["alphas"]]
    best = min(tried, key=lambda run: run["rmse"])
    register(best["model"])
    Path("metrics.json").write_text(json.dumps({"rmse": best["rmse"], "r2": best["r2"]}, indent=2) + "\n")


def hash_of_data() -> str:
    """What DVC calls this version of the data: `dvc add` wrote it into the file that git has."""
    return str(yaml.safe_load(Path(f"{DATA}.dvc").read_text())["outs"][0]["md5"])


def log_run(wines: pd.DataFrame, data_hash: str, alpha: float, params: dict[str, Any]) -> dict[str, Any]:
    """Train one model and log it; return its errors and its URI. The error `rmse` is in % of alcohol by volume."""
    inputs, measured = wines.drop(columns=TARGET), wines[TARGET]
    train_x, test_x, train_y, test_y = train_test_split(
        inputs, measured, test_size=params["test_size"], random_state=params["seed"]
    )
    with mlflow.start_run(run_name=f"alpha={alpha:g}", log_system_metrics=True):
        mlflow.set_tag("dvc.data.md5", data_hash)  # the commit of the code is a tag that MLflow sets itself
        place = dvc.api.get_url(str(DATA))  # of just this version of the data, in the team's server
        dataset = mlflow.data.from_pandas(wines, source=place, name="wines", targets=TARGET)
        mlflow.log_input(dataset, context="training")
        mlflow.log_params(
            {"alpha": alpha, **{name: params[name] for name in ("l1_ratio", "test_size", "seed")}}
        )
        model = make_pipeline(StandardScaler(), ElasticNet(alpha=alpha, l1_ratio=params["l1_ratio"]))
        model.fit(train_x, train_y)
        predicted = pd.Series(model.predict(test_x), index=test_y.index)
        metrics = {"rmse": root_mean_squared_error(test_y, predicted), "r2": r2_score(test_y, predicted)}
        mlflow.log_metrics(metrics)
        mlflow.log_figure(plot(test_y, predicted), "predicted-and-measured.png")
        uri = log_model(model, test_x, predicted)
    print(f"alpha {alpha:<5g} rmse {metrics['rmse']:.3f}  r2 {metrics['r2']:.3f}", flush=True)
    return {**metrics, "model": uri}


def plot(measured: pd.Series, predicted: pd.Series) -> Figure:
    """Draw predicted over measured alcohol; on the diagonal a prediction is right."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(measured, predicted, s=20, alpha=0.7)
    axes.axline((13, 13), slope=1, color="grey", linewidth=1)
    axes.set(
        xlabel="measured alcohol (% by volume)", ylabel="predicted", title="Wines kept back for the test"
    )
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
    return str(logged.model_uri)


def register(model_uri: str) -> None:
    """Make the model the newest version, and the one that `models:/wine-alcohol@champion` means."""
    version = mlflow.register_model(model_uri, MODEL)
    mlflow.MlflowClient().set_registered_model_alias(MODEL, ALIAS, version.version)
    print(f"models:/{MODEL}@{ALIAS} is version {version.version}", flush=True)


if __name__ == "__main__":
    main()
