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

class Hold(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOLD_UNSPECIFIED: _ClassVar[Hold]
    HOLD_TTL: _ClassVar[Hold]
    HOLD_STREAM: _ClassVar[Hold]

class LeaseState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEASE_STATE_UNSPECIFIED: _ClassVar[LeaseState]
    LEASE_STATE_IDLE: _ClassVar[LeaseState]
    LEASE_STATE_ACTIVE: _ClassVar[LeaseState]
    LEASE_STATE_EVICTING: _ClassVar[LeaseState]
    LEASE_STATE_DRAINING: _ClassVar[LeaseState]
    LEASE_STATE_ENDED: _ClassVar[LeaseState]

class LeaseEnd(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEASE_END_UNSPECIFIED: _ClassVar[LeaseEnd]
    LEASE_END_RELEASED: _ClassVar[LeaseEnd]
    LEASE_END_EXPIRED: _ClassVar[LeaseEnd]
    LEASE_END_PROCESS_EXITED: _ClassVar[LeaseEnd]
    LEASE_END_STREAM_CLOSED: _ClassVar[LeaseEnd]
    LEASE_END_EVICTED: _ClassVar[LeaseEnd]
    LEASE_END_UNCLAIMED: _ClassVar[LeaseEnd]

class ReasonCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_CODE_UNSPECIFIED: _ClassVar[ReasonCode]
    REASON_CODE_INSUFFICIENT_GPU_MEMORY: _ClassVar[ReasonCode]
    REASON_CODE_INSUFFICIENT_SYSTEM_RAM: _ClassVar[ReasonCode]
    REASON_CODE_NO_GPU: _ClassVar[ReasonCode]
    REASON_CODE_GPU_STATS_UNAVAILABLE: _ClassVar[ReasonCode]
    REASON_CODE_GPU_UNHEALTHY: _ClassVar[ReasonCode]
    REASON_CODE_NEVER_FITS: _ClassVar[ReasonCode]
    REASON_CODE_BEHIND_IN_QUEUE: _ClassVar[ReasonCode]
    REASON_CODE_HELD_FOR_EARLIER_TICKET: _ClassVar[ReasonCode]
    REASON_CODE_WAITING_FOR_EVICTION: _ClassVar[ReasonCode]
    REASON_CODE_WAITING_FOR_RELEASE: _ClassVar[ReasonCode]
    REASON_CODE_QUOTA: _ClassVar[ReasonCode]
    REASON_CODE_DRAINING: _ClassVar[ReasonCode]
    REASON_CODE_POLICY: _ClassVar[ReasonCode]

class EstimateBasis(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ESTIMATE_BASIS_UNSPECIFIED: _ClassVar[EstimateBasis]
    ESTIMATE_BASIS_DECLARED: _ClassVar[EstimateBasis]
    ESTIMATE_BASIS_LEARNED: _ClassVar[EstimateBasis]
HOLD_UNSPECIFIED: Hold
HOLD_TTL: Hold
HOLD_STREAM: Hold
LEASE_STATE_UNSPECIFIED: LeaseState
LEASE_STATE_IDLE: LeaseState
LEASE_STATE_ACTIVE: LeaseState
LEASE_STATE_EVICTING: LeaseState
LEASE_STATE_DRAINING: LeaseState
LEASE_STATE_ENDED: LeaseState
LEASE_END_UNSPECIFIED: LeaseEnd
LEASE_END_RELEASED: LeaseEnd
LEASE_END_EXPIRED: LeaseEnd
LEASE_END_PROCESS_EXITED: LeaseEnd
LEASE_END_STREAM_CLOSED: LeaseEnd
LEASE_END_EVICTED: LeaseEnd
LEASE_END_UNCLAIMED: LeaseEnd
REASON_CODE_UNSPECIFIED: ReasonCode
REASON_CODE_INSUFFICIENT_GPU_MEMORY: ReasonCode
REASON_CODE_INSUFFICIENT_SYSTEM_RAM: ReasonCode
REASON_CODE_NO_GPU: ReasonCode
REASON_CODE_GPU_STATS_UNAVAILABLE: ReasonCode
REASON_CODE_GPU_UNHEALTHY: ReasonCode
REASON_CODE_NEVER_FITS: ReasonCode
REASON_CODE_BEHIND_IN_QUEUE: ReasonCode
REASON_CODE_HELD_FOR_EARLIER_TICKET: ReasonCode
REASON_CODE_WAITING_FOR_EVICTION: ReasonCode
REASON_CODE_WAITING_FOR_RELEASE: ReasonCode
REASON_CODE_QUOTA: ReasonCode
REASON_CODE_DRAINING: ReasonCode
REASON_CODE_POLICY: ReasonCode
ESTIMATE_BASIS_UNSPECIFIED: EstimateBasis
ESTIMATE_BASIS_DECLARED: EstimateBasis
ESTIMATE_BASIS_LEARNED: EstimateBasis

class ResourceRequirements(_message.Message):
    __slots__ = ("requires_gpu", "min_gpu_vram_mb", "min_system_ram_mb", "gpu_count", "gpu_uuids", "exclusive_gpu")
    REQUIRES_GPU_FIELD_NUMBER: _ClassVar[int]
    MIN_GPU_VRAM_MB_FIELD_NUMBER: _ClassVar[int]
    MIN_SYSTEM_RAM_MB_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    GPU_UUIDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIVE_GPU_FIELD_NUMBER: _ClassVar[int]
    requires_gpu: bool
    min_gpu_vram_mb: int
    min_system_ram_mb: int
    gpu_count: int
    gpu_uuids: _containers.RepeatedScalarFieldContainer[str]
    exclusive_gpu: bool
    def __init__(self, requires_gpu: bool = ..., min_gpu_vram_mb: _Optional[int] = ..., min_system_ram_mb: _Optional[int] = ..., gpu_count: _Optional[int] = ..., gpu_uuids: _Optional[_Iterable[str]] = ..., exclusive_gpu: bool = ...) -> None: ...

class Workload(_message.Message):
    __slots__ = ("name", "resources", "tenant", "priority", "expected_duration", "labels", "importance")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_DURATION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    IMPORTANCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    resources: ResourceRequirements
    tenant: str
    priority: int
    expected_duration: _duration_pb2.Duration
    labels: _containers.ScalarMap[str, str]
    importance: int
    def __init__(self, name: _Optional[str] = ..., resources: _Optional[_Union[ResourceRequirements, _Mapping]] = ..., tenant: _Optional[str] = ..., priority: _Optional[int] = ..., expected_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., importance: _Optional[int] = ...) -> None: ...

class LeasedGpu(_message.Message):
    __slots__ = ("uuid", "index", "vram_mb", "resident_mb")
    UUID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VRAM_MB_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_MB_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    index: int
    vram_mb: int
    resident_mb: int
    def __init__(self, uuid: _Optional[str] = ..., index: _Optional[int] = ..., vram_mb: _Optional[int] = ..., resident_mb: _Optional[int] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("id", "token", "workload", "gpus", "system_ram_mb", "granted_at", "expires_at", "state", "env", "request_id", "executions", "hold", "ttl", "resident_ram_mb", "policy", "pids", "overcommitted", "end")
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_RAM_MB_FIELD_NUMBER: _ClassVar[int]
    GRANTED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_RAM_MB_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    PIDS_FIELD_NUMBER: _ClassVar[int]
    OVERCOMMITTED_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    id: str
    token: int
    workload: Workload
    gpus: _containers.RepeatedCompositeFieldContainer[LeasedGpu]
    system_ram_mb: int
    granted_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    state: LeaseState
    env: _containers.ScalarMap[str, str]
    request_id: str
    executions: int
    hold: Hold
    ttl: _duration_pb2.Duration
    resident_ram_mb: int
    policy: str
    pids: _containers.RepeatedScalarFieldContainer[int]
    overcommitted: bool
    end: LeaseEnd
    def __init__(self, id: _Optional[str] = ..., token: _Optional[int] = ..., workload: _Optional[_Union[Workload, _Mapping]] = ..., gpus: _Optional[_Iterable[_Union[LeasedGpu, _Mapping]]] = ..., system_ram_mb: _Optional[int] = ..., granted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[LeaseState, str]] = ..., env: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ..., executions: _Optional[int] = ..., hold: _Optional[_Union[Hold, str]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., resident_ram_mb: _Optional[int] = ..., policy: _Optional[str] = ..., pids: _Optional[_Iterable[int]] = ..., overcommitted: bool = ..., end: _Optional[_Union[LeaseEnd, str]] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("code", "message", "gpu_uuid", "needed_mb", "available_mb", "foreign_mb", "outstanding_mb", "held_by")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    GPU_UUID_FIELD_NUMBER: _ClassVar[int]
    NEEDED_MB_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_MB_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_MB_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_MB_FIELD_NUMBER: _ClassVar[int]
    HELD_BY_FIELD_NUMBER: _ClassVar[int]
    code: ReasonCode
    message: str
    gpu_uuid: str
    needed_mb: int
    available_mb: int
    foreign_mb: int
    outstanding_mb: int
    held_by: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, code: _Optional[_Union[ReasonCode, str]] = ..., message: _Optional[str] = ..., gpu_uuid: _Optional[str] = ..., needed_mb: _Optional[int] = ..., available_mb: _Optional[int] = ..., foreign_mb: _Optional[int] = ..., outstanding_mb: _Optional[int] = ..., held_by: _Optional[_Iterable[str]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reasons", "largest_that_fits")
    REASONS_FIELD_NUMBER: _ClassVar[int]
    LARGEST_THAT_FITS_FIELD_NUMBER: _ClassVar[int]
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    largest_that_fits: ResourceRequirements
    def __init__(self, reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., largest_that_fits: _Optional[_Union[ResourceRequirements, _Mapping]] = ...) -> None: ...
