package sluice

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"time"

	"google.golang.org/grpc"

	"sluice/sluicev1"
)

const defaultAddress = "127.0.0.1:50051"

// Client is a connection to a server that all goroutines may share.
type Client struct {
	// Scheduler, Executor and Monitor are the generated stubs: everything of the contract.
	Scheduler sluicev1.SchedulerServiceClient
	Executor  sluicev1.ExecutorServiceClient
	Monitor   sluicev1.MonitorServiceClient

	address    string
	connection *grpc.ClientConn
	log        *slog.Logger
}

// DialOption changes how a client is connected.
type DialOption func(*dialing)

type dialing struct {
	keepalive time.Duration
	log       *slog.Logger
	more      []grpc.DialOption
}

// WithKeepalive says how long a line may be silent before the server is asked for a sign of life. The default is 10 s, and gRPC for Go
// makes 10 s of anything shorter. The server has half of it to answer, at least 1 s; a line without an answer ends with [UnreachableError].
func WithKeepalive(silence time.Duration) DialOption {
	return func(d *dialing) { d.keepalive = silence }
}

// WithLogger has warnings, such as a lease that is lost, written there instead of to [slog.Default].
func WithLogger(log *slog.Logger) DialOption {
	return func(d *dialing) { d.log = log }
}

// WithDialOptions adds options of gRPC, such as interceptors. They come last, so they win.
func WithDialOptions(options ...grpc.DialOption) DialOption {
	return func(d *dialing) { d.more = append(d.more, options...) }
}

// Dial makes a client of the server at address: "host:port" or "unix:/path". Empty: SLUICE_ADDRESS, else 127.0.0.1:50051.
//
// Nothing is opened before the first call, so an error here means an address that cannot be one.
func Dial(address string, options ...DialOption) (*Client, error) {
	how := dialing{keepalive: 10 * time.Second, log: slog.Default()}
	for _, option := range options {
		option(&how)
	}
	address = cmp.Or(address, os.Getenv("SLUICE_ADDRESS"), defaultAddress)
	connection, err := grpc.NewClient(address, append(connectionOptions(address, how.keepalive), how.more...)...)
	if err != nil {
		return nil, &InvalidRequestError{BaseError{Message: err.Error(), cause: err}}
	}
	return &Client{
		Scheduler:  sluicev1.NewSchedulerServiceClient(connection),
		Executor:   sluicev1.NewExecutorServiceClient(connection),
		Monitor:    sluicev1.NewMonitorServiceClient(connection),
		address:    address,
		connection: connection,
		log:        how.log,
	}, nil
}

// Address is where the server is, as it was given or found.
func (c *Client) Address() string { return c.address }

// Close ends the connection and the calls that run. A lease that is still held is lost, because nobody renews it.
func (c *Client) Close() error { return c.connection.Close() }

// Explain answers whether resources would be granted now, and if not, why not and what would be. It changes nothing. Without a
// deadline of ctx it takes 10 s at most.
func (c *Client) Explain(ctx context.Context, resources Resources) (*sluicev1.ExplainResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	request := &sluicev1.ExplainRequest{Workload: resources.workload(), Policy: resources.Policy}
	answer, err := c.Scheduler.Explain(ctx, request)
	if err != nil {
		return nil, c.errorFrom(err)
	}
	return answer, nil
}
