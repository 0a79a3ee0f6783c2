package sluice

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// The default of 4 MiB is less than a long queue with long labels.
const maxReceiveBytes = 64 << 20

func connectionOptions(address string, silence time.Duration) []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: silence, Timeout: max(time.Second, silence/2)}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceiveBytes)),
		// Whoever waits should be back soon after the server is, not after two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// Nobody publishes one, and to look for it costs a question to DNS.
		grpc.WithDisableServiceConfig(),
	}
	if isLocal(address) {
		// A proxy from the environment cannot reach this machine's own loopback.
		options = append(options, grpc.WithNoProxy())
	}
	return options
}

// isLocal is true when the server is on this machine, so that it knows this process by its pid.
func isLocal(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// pause waits for so long, until a line that was down is there again, or until ctx is done.
func (c *Client) pause(ctx context.Context, atMost time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	state := c.connection.GetState()
	if state == connectivity.Ready {
		// The line is there and the server said no: that takes the whole pause.
		<-ctx.Done()
		return
	}
	for state != connectivity.Ready {
		// An idle connection stays down until somebody calls.
		c.connection.Connect()
		if !c.connection.WaitForStateChange(ctx, state) {
			return
		}
		state = c.connection.GetState()
	}
}
