import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GpuHealth(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GPU_HEALTH_UNSPECIFIED: _ClassVar[GpuHealth]
    GPU_HEALTH_OK: _ClassVar[GpuHealth]
    GPU_HEALTH_DEGRADED: _ClassVar[GpuHealth]
    GPU_HEALTH_LOST: _ClassVar[GpuHealth]
    GPU_HEALTH_UNKNOWN: _ClassVar[GpuHealth]

class GpuKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GPU_KIND_UNSPECIFIED: _ClassVar[GpuKind]
    GPU_KIND_FULL: _ClassVar[GpuKind]
    GPU_KIND_MIG: _ClassVar[GpuKind]
    GPU_KIND_UNIFIED: _ClassVar[GpuKind]

class Attribution(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTRIBUTION_UNSPECIFIED: _ClassVar[Attribution]
    ATTRIBUTION_AVAILABLE: _ClassVar[Attribution]
    ATTRIBUTION_UNAVAILABLE: _ClassVar[Attribution]
GPU_HEALTH_UNSPECIFIED: GpuHealth
GPU_HEALTH_OK: GpuHealth
GPU_HEALTH_DEGRADED: GpuHealth
GPU_HEALTH_LOST: GpuHealth
GPU_HEALTH_UNKNOWN: GpuHealth
GPU_KIND_UNSPECIFIED: GpuKind
GPU_KIND_FULL: GpuKind
GPU_KIND_MIG: GpuKind
GPU_KIND_UNIFIED: GpuKind
ATTRIBUTION_UNSPECIFIED: Attribution
ATTRIBUTION_AVAILABLE: Attribution
ATTRIBUTION_UNAVAILABLE: Attribution

class GpuStats(_message.Message):
    __slots__ = ("uuid", "index", "name", "total_mb", "reserved_mb", "used_mb", "free_mb", "load_percent", "temperature_c", "power_w", "health", "health_message", "compute_mode", "kind", "pool_id", "parent_uuid", "observed_at", "age", "attribution", "pci_bus_id")
    UUID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MB_FIELD_NUMBER: _ClassVar[int]
    RESERVED_MB_FIELD_NUMBER: _ClassVar[int]
    USED_MB_FIELD_NUMBER: _ClassVar[int]
    FREE_MB_FIELD_NUMBER: _ClassVar[int]
    LOAD_PERCENT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    POWER_W_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    HEALTH_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_MODE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_UUID_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    PCI_BUS_ID_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    index: int
    name: str
    total_mb: int
    reserved_mb: int
    used_mb: int
    free_mb: int
    load_percent: float
    temperature_c: float
    power_w: float
    health: GpuHealth
    health_message: str
    compute_mode: str
    kind: GpuKind
    pool_id: str
    parent_uuid: str
    observed_at: _timestamp_pb2.Timestamp
    age: _duration_pb2.Duration
    attribution: Attribution
    pci_bus_id: str
    def __init__(self, uuid: _Optional[str] = ..., index: _Optional[int] = ..., name: _Optional[str] = ..., total_mb: _Optional[int] = ..., reserved_mb: _Optional[int] = ..., used_mb: _Optional[int] = ..., free_mb: _Optional[int] = ..., load_percent: _Optional[float] = ..., temperature_c: _Optional[float] = ..., power_w: _Optional[float] = ..., health: _Optional[_Union[GpuHealth, str]] = ..., health_message: _Optional[str] = ..., compute_mode: _Optional[str] = ..., kind: _Optional[_Union[GpuKind, str]] = ..., pool_id: _Optional[str] = ..., parent_uuid: _Optional[str] = ..., observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., attribution: _Optional[_Union[Attribution, str]] = ..., pci_bus_id: _Optional[str] = ...) -> None: ...

class HostStats(_message.Message):
    __slots__ = ("memory_total_mb", "memory_available_mb", "memory_used_mb", "cgroup_limit_mb", "cpu_percent", "observed_at", "age")
    MEMORY_TOTAL_MB_FIELD_NUMBER: _ClassVar[int]
    MEMORY_AVAILABLE_MB_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_MB_FIELD_NUMBER: _ClassVar[int]
    CGROUP_LIMIT_MB_FIELD_NUMBER: _ClassVar[int]
    CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    memory_total_mb: int
    memory_available_mb: int
    memory_used_mb: int
    cgroup_limit_mb: int
    cpu_percent: float
    observed_at: _timestamp_pb2.Timestamp
    age: _duration_pb2.Duration
    def __init__(self, memory_total_mb: _Optional[int] = ..., memory_available_mb: _Optional[int] = ..., memory_used_mb: _Optional[int] = ..., cgroup_limit_mb: _Optional[int] = ..., cpu_percent: _Optional[float] = ..., observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SystemStats(_message.Message):
    __slots__ = ("gpu_free_memory_mb", "gpu_total_memory_mb", "gpu_used_memory_mb", "gpu_load_percent", "memory_available_mb", "memory_total_mb", "memory_used_mb", "cpu_percent", "observed_at", "source", "gpus", "host", "attribution", "simulated", "degraded", "message", "driver_version")
    GPU_FREE_MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    GPU_TOTAL_MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    GPU_USED_MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    GPU_LOAD_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_AVAILABLE_MB_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_MB_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_MB_FIELD_NUMBER: _ClassVar[int]
    CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DRIVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    gpu_free_memory_mb: int
    gpu_total_memory_mb: int
    gpu_used_memory_mb: int
    gpu_load_percent: float
    memory_available_mb: int
    memory_total_mb: int
    memory_used_mb: int
    cpu_percent: float
    observed_at: _timestamp_pb2.Timestamp
    source: str
    gpus: _containers.RepeatedCompositeFieldContainer[GpuStats]
    host: HostStats
    attribution: Attribution
    simulated: bool
    degraded: bool
    message: str
    driver_version: str
    def __init__(self, gpu_free_memory_mb: _Optional[int] = ..., gpu_total_memory_mb: _Optional[int] = ..., gpu_used_memory_mb: _Optional[int] = ..., gpu_load_percent: _Optional[float] = ..., memory_available_mb: _Optional[int] = ..., memory_total_mb: _Optional[int] = ..., memory_used_mb: _Optional[int] = ..., cpu_percent: _Optional[float] = ..., observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ..., gpus: _Optional[_Iterable[_Union[GpuStats, _Mapping]]] = ..., host: _Optional[_Union[HostStats, _Mapping]] = ..., attribution: _Optional[_Union[Attribution, str]] = ..., simulated: bool = ..., degraded: bool = ..., message: _Optional[str] = ..., driver_version: _Optional[str] = ...) -> None: ...

class GetSystemStatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetSystemStatsResponse(_message.Message):
    __slots__ = ("stats",)
    STATS_FIELD_NUMBER: _ClassVar[int]
    stats: SystemStats
    def __init__(self, stats: _Optional[_Union[SystemStats, _Mapping]] = ...) -> None: ...

class WatchSystemStatsRequest(_message.Message):
    __slots__ = ("interval",)
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    interval: _duration_pb2.Duration
    def __init__(self, interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchSystemStatsResponse(_message.Message):
    __slots__ = ("stats",)
    STATS_FIELD_NUMBER: _ClassVar[int]
    stats: SystemStats
    def __init__(self, stats: _Optional[_Union[SystemStats, _Mapping]] = ...) -> None: ...

class ListGpusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListGpusResponse(_message.Message):
    __slots__ = ("gpus",)
    GPUS_FIELD_NUMBER: _ClassVar[int]
    gpus: _containers.RepeatedCompositeFieldContainer[GpuStats]
    def __init__(self, gpus: _Optional[_Iterable[_Union[GpuStats, _Mapping]]] = ...) -> None: ...

class ListGpuProcessesRequest(_message.Message):
    __slots__ = ("gpu_uuid",)
    GPU_UUID_FIELD_NUMBER: _ClassVar[int]
    gpu_uuid: str
    def __init__(self, gpu_uuid: _Optional[str] = ...) -> None: ...

class GpuProcess(_message.Message):
    __slots__ = ("pid", "gpu_uuid", "used_mb", "name", "lease_id")
    PID_FIELD_NUMBER: _ClassVar[int]
    GPU_UUID_FIELD_NUMBER: _ClassVar[int]
    USED_MB_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    pid: int
    gpu_uuid: str
    used_mb: int
    name: str
    lease_id: str
    def __init__(self, pid: _Optional[int] = ..., gpu_uuid: _Optional[str] = ..., used_mb: _Optional[int] = ..., name: _Optional[str] = ..., lease_id: _Optional[str] = ...) -> None: ...

class ListGpuProcessesResponse(_message.Message):
    __slots__ = ("processes", "attribution", "observed_at")
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    processes: _containers.RepeatedCompositeFieldContainer[GpuProcess]
    attribution: Attribution
    observed_at: _timestamp_pb2.Timestamp
    def __init__(self, processes: _Optional[_Iterable[_Union[GpuProcess, _Mapping]]] = ..., attribution: _Optional[_Union[Attribution, str]] = ..., observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
