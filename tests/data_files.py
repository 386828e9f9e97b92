"""Files of every format with the same rows, written independently of the code under test."""

import gzip
import struct

import numpy as np
import pytest

ROWS, COLUMNS = 700, 5
VALUES = np.random.default_rng(0).integers(0, 200, (ROWS, COLUMNS)).astype(np.float32)


def package(name):
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install 'riemannrnn[data]'")


def npy(path, values):
    np.save(path, values)


def npz(path, values):
    np.savez(path, mine=values)


def compressed(path, values):
    np.savez_compressed(path, mine=values)


def csv(path, values):
    package("pandas").DataFrame(values).to_csv(path, index=False)


def tsv(path, values):
    package("pandas").DataFrame(values, columns=list("abcde")).to_csv(path, sep="\t", index=False)


def parquet(path, values):
    package("pyarrow")
    package("pandas").DataFrame(values, columns=list("abcde")).to_parquet(path)


def hdf5(path, values):
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("group/mine", data=values, chunks=(64, 5), compression="gzip")


def netcdf(path, values):
    import xarray as xr

    xr.Dataset({"mine": (("trial", "unit"), values)}, {"trial": np.arange(len(values))}).to_netcdf(path, engine="h5netcdf")


def zarr(path, values):
    package("zarr").create_array(str(path), data=values, chunks=(128, 5))


def zarr_group(path, values):
    group = package("zarr").open_group(str(path), mode="w")
    group.create_group("deep").create_array("mine", data=values)


def idx(path, values):
    content = b"\0\0\x08\x02" + struct.pack(">2I", *values.shape) + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


FILES = {
    "x.npy": npy, "x.npz": npz, "compressed.npz": compressed, "x.csv": csv, "x.csv.gz": csv, "x.tsv": tsv, "x.parquet": parquet,
    "x.h5": hdf5, "x.hdf5": hdf5, "x.nc": netcdf, "x.zarr": zarr, "group.zarr": zarr_group,
    "x-ubyte.gz": idx, "x-ubyte": idx, "x.idx.gz": idx, "x.idx": idx,
}  # fmt: skip
CONVERTED = {"compressed.npz", "x.csv", "x.csv.gz", "x.tsv", "x.parquet", "x-ubyte.gz", "x-ubyte", "x.idx.gz", "x.idx"}
