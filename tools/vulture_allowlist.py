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

# fields of protobuf's descriptors
_.map_entry
_.oneof_index
_.type_name

# members of requests and responses
_.backend
_.batch_stats
_.binary_data_output
_.binary_data_size
_.compute_infer
_.compute_input
_.compute_output
_.data_type
_.datatype
_.dimensions
_.disclaimer
_.execution_count
_.fail
_.image_standardization_image_size
_.image_standardization_jpeg_compression_ratio
_.inference_count
_.inference_stats
_.input_type
_.last_inference
_.live
_.max_batch_size
_.model_name
_.model_provider_name
_.model_size
_.model_stats
_.model_type
_.owned_by
_.param
_.prompt_tokens
_.ready
_.role
_.shows_images
_.success
_.total_tokens
_.usage

# the server: uvicorn's factory, pydantic's settings, a route with two decorators
_.disconnected
_.dotenv_settings
_.file_secret_settings
_.handle_hup
_.keep_subprocess_alive
_.model_ready
_.redirect_request
_.send_400_response
_.settings_cls
_.settings_customise_sources
_.worker_app

# archives, DICOMweb, DIMSE and structured reports: io's, requests', urllib3's, pynetdicom's and pydicom's
_.acse_timeout
_.dimse_timeout
_.maximum_associations
_.maximum_pdu_size
_.network_timeout
_.pool_classes_by_scheme
_.require_called_aet
_.require_calling_aet
_.seekable
_.trust_env
_.ConnectionCls
_.SeriesDescription
_.SpecificCharacterSet

# urllib's handlers, http.client's connection and the event loop's server
_._create_connection
_.http_open
_.https_open
_.wait_closed

# public attributes, keys of training configs
_.label_scores
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
