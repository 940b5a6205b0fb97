"""Names that only other libraries, clients or data use, so that vulture takes them for unused."""
# ruff: noqa: B018, F821

# options of ONNX Runtime's sessions, fields of ONNX models and tokenizers, members that the standard library calls
_.__getattr__
_.__signature__
_.__subclasscheck__
_.category
_.decoder
_.default_port
_.doc_string
_.enable_mem_pattern
_.exec_module
_.graph_optimization_level
_.handlers
_.inter_op_num_threads
_.intra_op_num_threads
_.log_severity_level
_.normalizer
_.optimized_model_filepath
_.post_processor
_.producer_name
_.producer_version
_.use_deterministic_compute

# members of requests and responses
_.datatype
_.dimensions
_.disclaimer
_.image_standardization_image_size
_.image_standardization_jpeg_compression_ratio
_.live
_.model_name
_.model_size
_.owned_by
_.param
_.prompt_tokens
_.ready
_.shows_images
_.total_tokens
_.usage

# the server: uvicorn's factory, pydantic's settings, a route with two decorators
_.dotenv_settings
_.file_secret_settings
_.model_ready
_.settings_cls
_.settings_customise_sources
_.worker_app

# public attributes, keys of training configs
_.builtin
_.drop_anatomy
_.drop_finding
_.drop_modality
_.drop_view
_.eval_image_tsv
_.test_image_tsv
_.eval_text_tsv
_.test_text_tsv
_.image_tsv
_.text_tsv
