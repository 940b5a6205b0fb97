"""Examples in the help of each verb."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("mi2 demo",),
    "embed": (
        "mi2 embed scans/ --out vectors.parquet",
        "mi2 embed ct/ --level series --out series.npy",
        "mi2 embed slide.svs --slides mpp=1 --out tiles.parquet",
        'mi2 embed chest.dcm --text "x-ray chest Pneumonia" --json',
        "mi2 embed --dicomweb https://pacs.example/dicom-web --query Modality=CT,StudyDate=20240101-",
        "find archive -name '*.dcm' | mi2 embed --files - --out vectors.npy",
    ),
    "classify": (
        'mi2 classify chest.dcm --labels "No Finding" Pneumonia --template "x-ray chest {}"',
        "mi2 classify new.dcm --store chest --label-column finding",
    ),
    "compare": (
        "mi2 compare a.png b.png",
        'mi2 compare chest.dcm --text "x-ray chest Pneumonia"',
        "mi2 compare --prior 2023/ --current 2024/",
    ),
    "heatmap": (
        'mi2 heatmap slide.svs --text "H&E tumor" --out map.png --geojson map.geojson',
        "mi2 heatmap slide.svs --vectors tiles.parquet --text necrosis --out map.png",
    ),
    "batch": (
        "mi2 batch archive/ vectors/",
        "mi2 batch ct/ vectors/ --level series",
        "mi2 batch s3://archive/chest s3://vectors/chest",
        "mi2 batch requests.csv predictions/ --csv",
    ),
    "tag": (
        "mi2 tag scans/ --vocabulary modality",
        "mi2 tag scans/ --tagger chest.json --json",
    ),
    "tag fit": ("mi2 tag fit table.csv --label-column findings --separator '|' --out chest.json",),
    "search": (
        'mi2 search chest --text "x-ray chest pneumonia" -k 5',
        "mi2 search chest --image new.dcm --contact-sheet found.png --folder images/",
    ),
    "index add": (
        "mi2 index add chest images/ --metadata images.csv --dicom-tags",
        "mi2 index add chest ct/ --level image,series,study",
    ),
    "index duplicates": (
        "mi2 index duplicates chest --out duplicates.csv",
        "mi2 index duplicates chest --between split --keep test",
    ),
    "index info": ("mi2 index info chest --recall",),
    "adapter train": ("mi2 adapter train table.csv --label-column finding --out findings.adapter",),
    "adapter compare": (
        "mi2 adapter compare table.csv --label-column finding --out comparison.csv",
        "mi2 adapter compare pneumoniamnist.npz --label-names normal,pneumonia",
    ),
    "adapter predict": ("mi2 adapter predict findings.adapter scans/ --json",),
    "listen": (
        "mi2 listen chest --calling PACS --spool spool/",
        "mi2 listen chest --calling PACS --spool spool/ --host 0.0.0.0 --level series --dicom-tags --patient-id hashed",
    ),
    "outliers drift": ("mi2 outliers drift last-month.csv this-month.csv",),
    "score": ("mi2 score request.json",),
    "serve": (
        "mi2 serve",
        "mi2 serve --model ~/models/medimageinsight --host 0.0.0.0 --api-key-file keys",
        "mi2 serve --store chest=stores/chest --image-folders images/",
    ),
    "evaluate": (
        "mi2 evaluate table.parquet --out report/",
        'mi2 evaluate table.csv --label-columns Edema Effusion --template "x-ray chest {}"',
    ),
    "pull": (
        "mi2 pull",
        "mi2 pull medimageinsight-fp16 --precision fp16 --revision main --delete-checkpoint",
    ),
    "convert": (
        "mi2 convert path/to/2024.09.27 --out ~/models/medimageinsight",
        "mi2 convert path/to/mlflow_model --out ~/models/medimageinsight-onnx",
        "mi2 convert --from-onnx image.onnx text.onnx --tokenizer clip/ --preprocessing size.json --out models/mine",
    ),
    "statistics": ("mi2 statistics runs/chest/bundle chest.csv --split val",),
    "verify": ("mi2 verify ~/models/medimageinsight --against path/to/2024.09.27",),
    "train": ("mi2 train configs/mini.yaml --out runs/mini",),
    "finetune": ("mi2 finetune configs/finetune-lora.yaml",),
    "bench": ("mi2 bench --batch-sizes 1,8 --images scans/",),
    "info": ("mi2 info ~/models/medimageinsight",),
    "mcp": ("mi2 mcp --folder scans/ --store cases=stores/cases",),
}
