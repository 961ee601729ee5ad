package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
)

// Config says which etcd to use.
type Config struct {
	// Endpoints are URLs, all with http or all with https.
	Endpoints []string
	// TLS is nil for http.
	TLS *TLS
}

const (
	// requestTimeout is more than an election takes (etcd's default election time-out is one second).
	requestTimeout = 5 * time.Second
	// A connection whose far end says nothing is given up after keepAliveTime + keepAliveTimeout. etcd refuses clients
	// that ask more often than every 5 s.
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 5 * time.Second
	// A member that was away is tried again after these pauses. gRPC's own grow to two minutes, for which hosts would know
	// nothing of an etcd that is back.
	redialFirst = 100 * time.Millisecond
	redialMost  = 5 * time.Second
)

// Client is a connection to etcd.
type Client struct {
	etcd        *clientv3.Client
	config      Config
	connections *connections
	diagnosis   diagnosis
	stop        context.CancelFunc

	mu   sync.Mutex
	lost chan struct{} // closed when the connection is lost, and replaced
}

var _ Store = (*Client)(nil)

// Open prepares a client. It does not wait for etcd, which may be down.
func Open(c Config) (*Client, error) {
	pauses := backoff.DefaultConfig
	pauses.BaseDelay, pauses.MaxDelay = redialFirst, redialMost
	all := &connections{all: make(map[*net.TCPConn]bool)}
	config := clientv3.Config{
		Endpoints:   c.Endpoints,
		DialTimeout: requestTimeout, DialKeepAliveTime: keepAliveTime, DialKeepAliveTimeout: keepAliveTimeout,
		PermitWithoutStream: true,
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: pauses, MinConnectTimeout: requestTimeout}),
			grpc.WithContextDialer(all.dial),
		},
		Logger: zap.NewNop(), // what goes wrong is returned, and logged once by who calls
	}
	if c.TLS != nil {
		config.TLS = c.TLS.Config()
		config.DialOptions = append(config.DialOptions, grpc.WithTransportCredentials(newHandshakes(c.TLS)))
	}
	inner, err := clientv3.New(config)
	if err != nil {
		return nil, fmt.Errorf("etcd client: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	client := &Client{
		etcd: inner, config: Config{Endpoints: slices.Clone(c.Endpoints), TLS: c.TLS}, connections: all, stop: stop, lost: make(chan struct{}),
	}
	go client.AwaitConnection(ctx, client.connected)
	return client, nil
}

// Close ends the connections, and everything that goes on with them.
func (c *Client) Close() {
	c.stop()
	_ = c.etcd.Close() // nothing is buffered
}

// connected ends all watches when the connection is lost: the client library would resume them on whatever answers next.
func (c *Client) connected(is bool) {
	if is {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.lost)
	c.lost = make(chan struct{})
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

// request runs one request within its time, and says what is wrong with the connection if that can be found out.
func (c *Client) request(ctx context.Context, ask func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := ask(limited)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrCompacted):
		return ErrCompacted
	case errors.Is(err, rpctypes.ErrFutureRev):
		return ErrFuture
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return ErrLeaseLost
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("etcd: %w: its space is exhausted: compact and defragment it, then disarm the alarm by `etcdctl alarm disarm`", ErrUnavailable)
	}
	if cause := c.diagnosis.of(ctx, c); cause != nil {
		err = cause
	}
	return fmt.Errorf("etcd: %w: %w", ErrUnavailable, err)
}

// Txn implements Store.
func (c *Client) Txn(ctx context.Context, t Txn) (Result, error) {
	var response *clientv3.TxnResponse
	err := c.request(ctx, func(ctx context.Context) (err error) {
		response, err = c.etcd.Txn(ctx).If(conditions(t.If)...).Then(operations(t.Then)...).Else(operations(t.Otherwise)...).Commit()
		return err
	})
	if err != nil {
		return Result{}, err
	}
	result := Result{Header: Header{response.Header.ClusterId, response.Header.Revision}, Done: response.Succeeded}
	for _, r := range response.Responses {
		var page Page
		if read := r.GetResponseRange(); read != nil {
			page = pageOf((*clientv3.GetResponse)(read))
		}
		result.Pages = append(result.Pages, page)
	}
	return result, nil
}

func conditions(all []Condition) []clientv3.Cmp {
	list := make([]clientv3.Cmp, 0, len(all))
	for _, c := range all {
		var subject clientv3.Cmp
		switch c.Subject {
		case Created:
			subject = clientv3.CreateRevision(c.Key)
		case Modified:
			subject = clientv3.ModRevision(c.Key)
		case Value:
			list = append(list, clientv3.Compare(clientv3.Value(c.Key), "=", c.Value))
			continue
		}
		if c.End != "" {
			subject = subject.WithRange(c.End)
		}
		operator := "="
		if c.Below {
			operator = "<"
		}
		list = append(list, clientv3.Compare(subject, operator, c.Revision))
	}
	return list
}

func operations(all []Op) []clientv3.Op {
	list := make([]clientv3.Op, 0, len(all))
	for _, o := range all {
		var options []clientv3.OpOption
		if o.End != "" {
			options = append(options, clientv3.WithRange(o.End))
		}
		switch o.Do {
		case Put:
			if o.Lease != 0 {
				options = append(options, clientv3.WithLease(clientv3.LeaseID(o.Lease)))
			}
			list = append(list, clientv3.OpPut(o.Key, o.Value, options...))
		case Delete:
			list = append(list, clientv3.OpDelete(o.Key, options...))
		case Get:
			if o.KeysOnly {
				options = append(options, clientv3.WithKeysOnly())
			}
			list = append(list, clientv3.OpGet(o.Key, append(options, clientv3.WithLimit(o.Limit))...))
		}
	}
	return list
}

// Range implements Store.
func (c *Client) Range(ctx context.Context, r Range) (Page, error) {
	options := []clientv3.OpOption{clientv3.WithLimit(r.Limit), clientv3.WithRev(r.Revision)}
	if r.End != "" {
		options = append(options, clientv3.WithRange(r.End))
	}
	if r.KeysOnly {
		options = append(options, clientv3.WithKeysOnly())
	}
	var response *clientv3.GetResponse
	err := c.request(ctx, func(ctx context.Context) (err error) {
		response, err = c.etcd.Get(ctx, r.Key, options...)
		return err
	})
	if err != nil {
		return Page{}, err
	}
	return pageOf(response), nil
}

func pageOf(response *clientv3.GetResponse) Page {
	page := Page{More: response.More}
	if response.Header != nil { // there is none inside a transaction
		page.Header = Header{response.Header.ClusterId, response.Header.Revision}
	}
	for _, kv := range response.Kvs {
		page.KVs = append(page.KVs, KV{string(kv.Key), string(kv.Value), kv.CreateRevision, kv.ModRevision})
	}
	return page
}

// Grant implements Store.
func (c *Client) Grant(ctx context.Context, ttl time.Duration) (int64, error) {
	var lease clientv3.LeaseID
	err := c.request(ctx, func(ctx context.Context) error {
		response, err := c.etcd.Grant(ctx, max(1, int64(ttl/time.Second)))
		if err == nil {
			lease = response.ID
		}
		return err
	})
	return int64(lease), err
}

// Renew implements Store.
func (c *Client) Renew(ctx context.Context, lease int64) error {
	return c.request(ctx, func(ctx context.Context) error {
		_, err := c.etcd.KeepAliveOnce(ctx, clientv3.LeaseID(lease))
		return err
	})
}

// Revoke implements Store.
func (c *Client) Revoke(ctx context.Context, lease int64) error {
	return c.request(ctx, func(ctx context.Context) error {
		_, err := c.etcd.Revoke(ctx, clientv3.LeaseID(lease))
		return err
	})
}

// Alarmed implements Store.
func (c *Client) Alarmed(ctx context.Context) (bool, error) {
	var alarms *clientv3.AlarmResponse
	err := c.request(ctx, func(ctx context.Context) (err error) {
		alarms, err = c.etcd.AlarmList(ctx)
		return err
	})
	return err == nil && len(alarms.Alarms) > 0, err
}
