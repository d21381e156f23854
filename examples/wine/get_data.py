"""Write the data: 178 wines, 13 measurements each, from scikit-learn's own copy, so that nothing is downloaded.

Where it is from: https://archive.ics.uci.edu/dataset/109/wine
"""

from pathlib import Path

from sklearn.datasets import load_wine

FILE = Path("data/wines.csv")


def main() -> None:
    """Write `data/wines.csv`, the same bytes each time."""
    FILE.parent.mkdir(exist_ok=True)
    wines = load_wine(as_frame=True).frame.drop(columns="target")
    wines.to_csv(FILE, index=False)
    print(f"{FILE}: {len(wines)} wines, {len(wines.columns)} columns")


if __name__ == "__main__":
    main()
