// Package registry keeps overlay networks in etcd: their definitions, and which host owns which part of their subnets.
//
// Ownership is never leased, so that losing etcd takes nothing away. The one lease is that of a host's sign of life,
// which only decides when the blocks of a host that has been dead for long may be given to others.
//
// Everything that must not happen twice is a transaction: a block, a VNI or a name belongs to who creates its key, and
// who loses tries another. Nothing is locked, and nobody waits for anybody.
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

var (
	// ErrExhausted says that every block of a subnet has an owner.
	ErrExhausted = errors.New("no block is free")
	// ErrNodeTaken says that another machine with the same node name is alive.
	ErrNodeTaken = errors.New("node name is in use")
)

// Config says which etcd to use.
type Config struct {
	// Endpoints are URLs, all with http or all with https.
	Endpoints []string
	// TLS is nil for http.
	TLS *tls.Config
}

const (
	// requestTimeout is more than an election takes (etcd's default election time-out is one second).
	requestTimeout = 5 * time.Second
	// A connection whose far end says nothing is given up after keepAliveTime + keepAliveTimeout. etcd refuses clients
	// that ask more often than every 5 s.
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 5 * time.Second
)

// reconnect tries a member that was away as often as everything else is tried again. gRPC's own pauses grow to two minutes,
// for which hosts would know nothing of an etcd that is back.
func reconnect() grpc.ConnectParams {
	pauses := grpcbackoff.DefaultConfig
	pauses.BaseDelay, pauses.MaxDelay = backoffFirst, backoffMost
	return grpc.ConnectParams{Backoff: pauses, MinConnectTimeout: requestTimeout}
}

// Client is a connection to etcd. It may be used by several goroutines.
type Client struct {
	etcd        *clientv3.Client
	config      Config
	connections *connections
}

// Open prepares a client. It does not wait for etcd, which may be down.
func Open(c Config) (*Client, error) {
	connections := &connections{all: make(map[*net.TCPConn]bool)}
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints, TLS: c.TLS,
		DialTimeout: requestTimeout, DialKeepAliveTime: keepAliveTime, DialKeepAliveTimeout: keepAliveTimeout,
		PermitWithoutStream: true,
		DialOptions:         []grpc.DialOption{grpc.WithConnectParams(reconnect()), grpc.WithContextDialer(connections.dial)},
		Logger:              zap.NewNop(), // what goes wrong is returned, and logged once by who calls
	})
	if err != nil {
		return nil, fmt.Errorf("etcd client: %w", err)
	}
	return &Client{etcd: etcd, config: Config{Endpoints: slices.Clone(c.Endpoints), TLS: c.TLS}, connections: connections}, nil
}

// Close ends the connections, and everything that goes on with them.
func (c *Client) Close() {
	_ = c.etcd.Close() // nothing is buffered
}

// AwaitConnection calls report with true when a member of etcd is connected and with false when none is, at each change,
// until the context ends.
func (c *Client) AwaitConnection(ctx context.Context, report func(connected bool)) {
	connection := c.etcd.ActiveConnection()
	for state := connection.GetState(); ; state = connection.GetState() {
		report(state == connectivity.Ready)
		if state == connectivity.Idle {
			connection.Connect()
		}
		if !connection.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// unavailable marks an error of etcd's as one that time may heal, and says what is wrong with the connection if that can
// be found out.
func (c *Client) unavailable(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := c.diagnose(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("etcd: %w: %w", agentapi.ErrUnavailable, err)
}

// request runs one request within its time.
func (c *Client) request(ctx context.Context, ask func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := ask(limited); err != nil {
		return c.unavailable(ctx, err)
	}
	return nil
}

// attempt runs one transaction within its time.
func (c *Client) attempt(ctx context.Context, conditions []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	var response *clientv3.TxnResponse
	err := c.request(ctx, func(ctx context.Context) (err error) {
		response, err = c.etcd.Txn(ctx).If(conditions...).Then(then...).Else(otherwise...).Commit()
		return err
	})
	return response, err
}

// get reads within its time.
func (c *Client) get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	var response *clientv3.GetResponse
	err := c.request(ctx, func(ctx context.Context) (err error) {
		response, err = c.etcd.Get(ctx, key, options...)
		return err
	})
	return response, err
}
