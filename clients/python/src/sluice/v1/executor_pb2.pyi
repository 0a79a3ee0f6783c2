import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sluice.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PluginMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLUGIN_MODE_UNSPECIFIED: _ClassVar[PluginMode]
    PLUGIN_MODE_COMMAND: _ClassVar[PluginMode]
    PLUGIN_MODE_WORKER: _ClassVar[PluginMode]

class ResidentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESIDENT_STATE_UNSPECIFIED: _ClassVar[ResidentState]
    RESIDENT_STATE_STARTING: _ClassVar[ResidentState]
    RESIDENT_STATE_LOADING: _ClassVar[ResidentState]
    RESIDENT_STATE_IN_USE: _ClassVar[ResidentState]
    RESIDENT_STATE_IDLE: _ClassVar[ResidentState]
    RESIDENT_STATE_RELEASING: _ClassVar[ResidentState]
    RESIDENT_STATE_EVICTING: _ClassVar[ResidentState]
    RESIDENT_STATE_DEAD: _ClassVar[ResidentState]

class BreakerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BREAKER_STATE_UNSPECIFIED: _ClassVar[BreakerState]
    BREAKER_STATE_CLOSED: _ClassVar[BreakerState]
    BREAKER_STATE_BACKING_OFF: _ClassVar[BreakerState]
    BREAKER_STATE_OPEN: _ClassVar[BreakerState]
    BREAKER_STATE_HALF_OPEN: _ClassVar[BreakerState]

class ExecutionFailure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXECUTION_FAILURE_UNSPECIFIED: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_NOT_ADMITTED: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_TIMED_OUT: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_SPAWN: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_EXIT: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_BAD_RESULT: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_CANCELLED: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_LEASE_LOST: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_OUT_OF_MEMORY: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_PLUGIN_ERROR: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_WORKER_LOST: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_LOAD_FAILED: _ClassVar[ExecutionFailure]
    EXECUTION_FAILURE_WORKER_BROKEN: _ClassVar[ExecutionFailure]

class ExecutionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXECUTION_STATE_UNSPECIFIED: _ClassVar[ExecutionState]
    EXECUTION_STATE_QUEUED: _ClassVar[ExecutionState]
    EXECUTION_STATE_RUNNING: _ClassVar[ExecutionState]
    EXECUTION_STATE_SUCCEEDED: _ClassVar[ExecutionState]
    EXECUTION_STATE_FAILED: _ClassVar[ExecutionState]
    EXECUTION_STATE_CANCELLED: _ClassVar[ExecutionState]
PLUGIN_MODE_UNSPECIFIED: PluginMode
PLUGIN_MODE_COMMAND: PluginMode
PLUGIN_MODE_WORKER: PluginMode
RESIDENT_STATE_UNSPECIFIED: ResidentState
RESIDENT_STATE_STARTING: ResidentState
RESIDENT_STATE_LOADING: ResidentState
RESIDENT_STATE_IN_USE: ResidentState
RESIDENT_STATE_IDLE: ResidentState
RESIDENT_STATE_RELEASING: ResidentState
RESIDENT_STATE_EVICTING: ResidentState
RESIDENT_STATE_DEAD: ResidentState
BREAKER_STATE_UNSPECIFIED: BreakerState
BREAKER_STATE_CLOSED: BreakerState
BREAKER_STATE_BACKING_OFF: BreakerState
BREAKER_STATE_OPEN: BreakerState
BREAKER_STATE_HALF_OPEN: BreakerState
EXECUTION_FAILURE_UNSPECIFIED: ExecutionFailure
EXECUTION_FAILURE_NOT_ADMITTED: ExecutionFailure
EXECUTION_FAILURE_TIMED_OUT: ExecutionFailure
EXECUTION_FAILURE_SPAWN: ExecutionFailure
EXECUTION_FAILURE_EXIT: ExecutionFailure
EXECUTION_FAILURE_BAD_RESULT: ExecutionFailure
EXECUTION_FAILURE_CANCELLED: ExecutionFailure
EXECUTION_FAILURE_LEASE_LOST: ExecutionFailure
EXECUTION_FAILURE_OUT_OF_MEMORY: ExecutionFailure
EXECUTION_FAILURE_PLUGIN_ERROR: ExecutionFailure
EXECUTION_FAILURE_WORKER_LOST: ExecutionFailure
EXECUTION_FAILURE_LOAD_FAILED: ExecutionFailure
EXECUTION_FAILURE_WORKER_BROKEN: ExecutionFailure
EXECUTION_STATE_UNSPECIFIED: ExecutionState
EXECUTION_STATE_QUEUED: ExecutionState
EXECUTION_STATE_RUNNING: ExecutionState
EXECUTION_STATE_SUCCEEDED: ExecutionState
EXECUTION_STATE_FAILED: ExecutionState
EXECUTION_STATE_CANCELLED: ExecutionState

class PluginManifest(_message.Message):
    __slots__ = ("name", "version", "description", "resources", "command", "mode", "max_concurrency", "arguments_schema", "env", "pin", "importance", "idle_ttl", "min_residence", "serial_load", "load_stall")
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    IMPORTANCE_FIELD_NUMBER: _ClassVar[int]
    IDLE_TTL_FIELD_NUMBER: _ClassVar[int]
    MIN_RESIDENCE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_LOAD_FIELD_NUMBER: _ClassVar[int]
    LOAD_STALL_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    description: str
    resources: _types_pb2.ResourceRequirements
    command: _containers.RepeatedScalarFieldContainer[str]
    mode: PluginMode
    max_concurrency: int
    arguments_schema: _struct_pb2.Struct
    env: _containers.ScalarMap[str, str]
    pin: bool
    importance: int
    idle_ttl: _duration_pb2.Duration
    min_residence: _duration_pb2.Duration
    serial_load: bool
    load_stall: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., resources: _Optional[_Union[_types_pb2.ResourceRequirements, _Mapping]] = ..., command: _Optional[_Iterable[str]] = ..., mode: _Optional[_Union[PluginMode, str]] = ..., max_concurrency: _Optional[int] = ..., arguments_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., env: _Optional[_Mapping[str, str]] = ..., pin: bool = ..., importance: _Optional[int] = ..., idle_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., min_residence: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., serial_load: bool = ..., load_stall: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ResidentWorker(_message.Message):
    __slots__ = ("state", "pid", "lease_id", "executions", "loaded_at", "idle_since", "unload_at", "load_time", "resident_vram_mb", "resident_ram_mb")
    STATE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    LOADED_AT_FIELD_NUMBER: _ClassVar[int]
    IDLE_SINCE_FIELD_NUMBER: _ClassVar[int]
    UNLOAD_AT_FIELD_NUMBER: _ClassVar[int]
    LOAD_TIME_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_VRAM_MB_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_RAM_MB_FIELD_NUMBER: _ClassVar[int]
    state: ResidentState
    pid: int
    lease_id: str
    executions: int
    loaded_at: _timestamp_pb2.Timestamp
    idle_since: _timestamp_pb2.Timestamp
    unload_at: _timestamp_pb2.Timestamp
    load_time: _duration_pb2.Duration
    resident_vram_mb: int
    resident_ram_mb: int
    def __init__(self, state: _Optional[_Union[ResidentState, str]] = ..., pid: _Optional[int] = ..., lease_id: _Optional[str] = ..., executions: _Optional[int] = ..., loaded_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., idle_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., unload_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., load_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., resident_vram_mb: _Optional[int] = ..., resident_ram_mb: _Optional[int] = ...) -> None: ...

class Breaker(_message.Message):
    __slots__ = ("state", "failures", "next_attempt_at", "last_error")
    STATE_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    state: BreakerState
    failures: int
    next_attempt_at: _timestamp_pb2.Timestamp
    last_error: str
    def __init__(self, state: _Optional[_Union[BreakerState, str]] = ..., failures: _Optional[int] = ..., next_attempt_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_error: _Optional[str] = ...) -> None: ...

class MemoryProfile(_message.Message):
    __slots__ = ("learned_vram_mb", "learned_ram_mb", "runs", "at_least_vram_mb", "at_least_ram_mb", "asks_for")
    LEARNED_VRAM_MB_FIELD_NUMBER: _ClassVar[int]
    LEARNED_RAM_MB_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_VRAM_MB_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_RAM_MB_FIELD_NUMBER: _ClassVar[int]
    ASKS_FOR_FIELD_NUMBER: _ClassVar[int]
    learned_vram_mb: int
    learned_ram_mb: int
    runs: int
    at_least_vram_mb: int
    at_least_ram_mb: int
    asks_for: _types_pb2.ResourceRequirements
    def __init__(self, learned_vram_mb: _Optional[int] = ..., learned_ram_mb: _Optional[int] = ..., runs: _Optional[int] = ..., at_least_vram_mb: _Optional[int] = ..., at_least_ram_mb: _Optional[int] = ..., asks_for: _Optional[_Union[_types_pb2.ResourceRequirements, _Mapping]] = ...) -> None: ...

class Plugin(_message.Message):
    __slots__ = ("manifest", "enabled", "source", "executions", "resident", "worker", "breaker", "memory")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    manifest: PluginManifest
    enabled: bool
    source: str
    executions: int
    resident: ResidentState
    worker: ResidentWorker
    breaker: Breaker
    memory: MemoryProfile
    def __init__(self, manifest: _Optional[_Union[PluginManifest, _Mapping]] = ..., enabled: bool = ..., source: _Optional[str] = ..., executions: _Optional[int] = ..., resident: _Optional[_Union[ResidentState, str]] = ..., worker: _Optional[_Union[ResidentWorker, _Mapping]] = ..., breaker: _Optional[_Union[Breaker, _Mapping]] = ..., memory: _Optional[_Union[MemoryProfile, _Mapping]] = ...) -> None: ...

class ManifestError(_message.Message):
    __slots__ = ("file", "field", "message")
    FILE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    file: str
    field: str
    message: str
    def __init__(self, file: _Optional[str] = ..., field: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class LoadAllPluginsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LoadAllPluginsResponse(_message.Message):
    __slots__ = ("plugins", "errors")
    PLUGINS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    plugins: _containers.RepeatedCompositeFieldContainer[Plugin]
    errors: _containers.RepeatedCompositeFieldContainer[ManifestError]
    def __init__(self, plugins: _Optional[_Iterable[_Union[Plugin, _Mapping]]] = ..., errors: _Optional[_Iterable[_Union[ManifestError, _Mapping]]] = ...) -> None: ...

class RegisterPluginRequest(_message.Message):
    __slots__ = ("manifest",)
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    manifest: PluginManifest
    def __init__(self, manifest: _Optional[_Union[PluginManifest, _Mapping]] = ...) -> None: ...

class RegisterPluginResponse(_message.Message):
    __slots__ = ("plugin",)
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    plugin: Plugin
    def __init__(self, plugin: _Optional[_Union[Plugin, _Mapping]] = ...) -> None: ...

class ListPluginsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPluginsResponse(_message.Message):
    __slots__ = ("plugins",)
    PLUGINS_FIELD_NUMBER: _ClassVar[int]
    plugins: _containers.RepeatedCompositeFieldContainer[Plugin]
    def __init__(self, plugins: _Optional[_Iterable[_Union[Plugin, _Mapping]]] = ...) -> None: ...

class GetPluginRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetPluginResponse(_message.Message):
    __slots__ = ("plugin",)
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    plugin: Plugin
    def __init__(self, plugin: _Optional[_Union[Plugin, _Mapping]] = ...) -> None: ...

class EnablePluginRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class EnablePluginResponse(_message.Message):
    __slots__ = ("plugin",)
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    plugin: Plugin
    def __init__(self, plugin: _Optional[_Union[Plugin, _Mapping]] = ...) -> None: ...

class DisablePluginRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DisablePluginResponse(_message.Message):
    __slots__ = ("plugin",)
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    plugin: Plugin
    def __init__(self, plugin: _Optional[_Union[Plugin, _Mapping]] = ...) -> None: ...

class LoadPluginRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class LoadPluginResponse(_message.Message):
    __slots__ = ("plugin",)
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    plugin: Plugin
    def __init__(self, plugin: _Optional[_Union[Plugin, _Mapping]] = ...) -> None: ...

class UnloadPluginRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UnloadPluginResponse(_message.Message):
    __slots__ = ("plugin",)
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    plugin: Plugin
    def __init__(self, plugin: _Optional[_Union[Plugin, _Mapping]] = ...) -> None: ...

class ReleasePluginRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ReleasePluginResponse(_message.Message):
    __slots__ = ("plugin",)
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    plugin: Plugin
    def __init__(self, plugin: _Optional[_Union[Plugin, _Mapping]] = ...) -> None: ...

class ExecutePluginRequest(_message.Message):
    __slots__ = ("plugin", "arguments", "policy", "timeout", "tenant", "priority", "request_id")
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    plugin: str
    arguments: _struct_pb2.Struct
    policy: str
    timeout: _duration_pb2.Duration
    tenant: str
    priority: int
    request_id: str
    def __init__(self, plugin: _Optional[str] = ..., arguments: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., policy: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., tenant: _Optional[str] = ..., priority: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class ExecutePluginResponse(_message.Message):
    __slots__ = ("execution_id", "result")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    result: _struct_pb2.Value
    def __init__(self, execution_id: _Optional[str] = ..., result: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...

class StreamExecutionRequest(_message.Message):
    __slots__ = ("plugin", "arguments", "policy", "timeout", "tenant", "priority", "request_id")
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    plugin: str
    arguments: _struct_pb2.Struct
    policy: str
    timeout: _duration_pb2.Duration
    tenant: str
    priority: int
    request_id: str
    def __init__(self, plugin: _Optional[str] = ..., arguments: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., policy: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., tenant: _Optional[str] = ..., priority: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class StreamExecutionResponse(_message.Message):
    __slots__ = ("execution_id", "queued", "admitted", "loading", "started", "progress", "log", "result", "failed")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    ADMITTED_FIELD_NUMBER: _ClassVar[int]
    LOADING_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    queued: ExecutionQueued
    admitted: ExecutionAdmitted
    loading: ExecutionLoading
    started: ExecutionStarted
    progress: ExecutionProgress
    log: ExecutionLog
    result: ExecutionResult
    failed: ExecutionFailed
    def __init__(self, execution_id: _Optional[str] = ..., queued: _Optional[_Union[ExecutionQueued, _Mapping]] = ..., admitted: _Optional[_Union[ExecutionAdmitted, _Mapping]] = ..., loading: _Optional[_Union[ExecutionLoading, _Mapping]] = ..., started: _Optional[_Union[ExecutionStarted, _Mapping]] = ..., progress: _Optional[_Union[ExecutionProgress, _Mapping]] = ..., log: _Optional[_Union[ExecutionLog, _Mapping]] = ..., result: _Optional[_Union[ExecutionResult, _Mapping]] = ..., failed: _Optional[_Union[ExecutionFailed, _Mapping]] = ...) -> None: ...

class ExecutionQueued(_message.Message):
    __slots__ = ("position", "reasons")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    position: int
    reasons: _containers.RepeatedCompositeFieldContainer[_types_pb2.Reason]
    def __init__(self, position: _Optional[int] = ..., reasons: _Optional[_Iterable[_Union[_types_pb2.Reason, _Mapping]]] = ...) -> None: ...

class ExecutionAdmitted(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: _types_pb2.Lease
    def __init__(self, lease: _Optional[_Union[_types_pb2.Lease, _Mapping]] = ...) -> None: ...

class ExecutionLoading(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class ExecutionStarted(_message.Message):
    __slots__ = ("pid",)
    PID_FIELD_NUMBER: _ClassVar[int]
    pid: int
    def __init__(self, pid: _Optional[int] = ...) -> None: ...

class ExecutionProgress(_message.Message):
    __slots__ = ("fraction", "message")
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    fraction: float
    message: str
    def __init__(self, fraction: _Optional[float] = ..., message: _Optional[str] = ...) -> None: ...

class ExecutionLog(_message.Message):
    __slots__ = ("line", "stderr")
    LINE_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    line: str
    stderr: bool
    def __init__(self, line: _Optional[str] = ..., stderr: bool = ...) -> None: ...

class ExecutionResult(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _struct_pb2.Value
    def __init__(self, result: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...

class ExecutionFailed(_message.Message):
    __slots__ = ("code", "message", "exit_code", "signal", "refusal", "stderr_tail", "attempts")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    STDERR_TAIL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    code: ExecutionFailure
    message: str
    exit_code: int
    signal: str
    refusal: _types_pb2.Refusal
    stderr_tail: str
    attempts: int
    def __init__(self, code: _Optional[_Union[ExecutionFailure, str]] = ..., message: _Optional[str] = ..., exit_code: _Optional[int] = ..., signal: _Optional[str] = ..., refusal: _Optional[_Union[_types_pb2.Refusal, _Mapping]] = ..., stderr_tail: _Optional[str] = ..., attempts: _Optional[int] = ...) -> None: ...

class Execution(_message.Message):
    __slots__ = ("id", "plugin", "state", "lease_id", "created_at", "started_at", "finished_at", "result", "failure", "tenant", "request_id", "pid")
    ID_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    id: str
    plugin: str
    state: ExecutionState
    lease_id: str
    created_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    result: _struct_pb2.Value
    failure: ExecutionFailed
    tenant: str
    request_id: str
    pid: int
    def __init__(self, id: _Optional[str] = ..., plugin: _Optional[str] = ..., state: _Optional[_Union[ExecutionState, str]] = ..., lease_id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., result: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., failure: _Optional[_Union[ExecutionFailed, _Mapping]] = ..., tenant: _Optional[str] = ..., request_id: _Optional[str] = ..., pid: _Optional[int] = ...) -> None: ...

class GetExecutionRequest(_message.Message):
    __slots__ = ("execution_id",)
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    def __init__(self, execution_id: _Optional[str] = ...) -> None: ...

class GetExecutionResponse(_message.Message):
    __slots__ = ("execution",)
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    execution: Execution
    def __init__(self, execution: _Optional[_Union[Execution, _Mapping]] = ...) -> None: ...

class ListExecutionsRequest(_message.Message):
    __slots__ = ("plugin",)
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    plugin: str
    def __init__(self, plugin: _Optional[str] = ...) -> None: ...

class ListExecutionsResponse(_message.Message):
    __slots__ = ("executions",)
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    executions: _containers.RepeatedCompositeFieldContainer[Execution]
    def __init__(self, executions: _Optional[_Iterable[_Union[Execution, _Mapping]]] = ...) -> None: ...

class CancelExecutionRequest(_message.Message):
    __slots__ = ("execution_id",)
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    def __init__(self, execution_id: _Optional[str] = ...) -> None: ...

class CancelExecutionResponse(_message.Message):
    __slots__ = ("execution",)
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    execution: Execution
    def __init__(self, execution: _Optional[_Union[Execution, _Mapping]] = ...) -> None: ...
