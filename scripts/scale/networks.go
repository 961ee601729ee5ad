package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// records are hosts and networks that stand in etcd, as agents would have left them, without anybody behind them.
type records struct {
	store    *etcd.Client
	hosts    int
	networks []string
	pending  []etcd.Op
}

const (
	root = "/fairway/v1/"
	// txnMax is how many operations etcd takes at once (--max-txn-ops).
	txnMax = 100
)

// newRecords writes so many networks, each with all hosts as members.
func newRecords(ctx context.Context, o options, endpoints []string) (*records, error) {
	store, err := etcd.Open(etcd.Config{Endpoints: endpoints})
	if err != nil {
		return nil, err
	}
	r := &records{store: store, hosts: o.hosts}
	client := registry.New(store)
	for i := range o.networks {
		subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i)}), 16)
		made, err := client.Create(ctx, agentapi.Network{Name: fmt.Sprint("net", i), VNI: uint32(5000 + i), Subnets: []agentapi.Subnet{{Prefix: subnet, BlockLength: 29}}})
		if err != nil {
			return r, err
		}
		r.networks = append(r.networks, made.Name)
	}
	for i := range o.hosts {
		r.put(ctx, "nodes/"+nodeName(i), hostRecord(i, 0))
		for n := range r.networks {
			r.join(ctx, n, i)
		}
	}
	return r, r.flush(ctx)
}

func hostRecord(host, moved int) string {
	return fmt.Sprintf(`{"version":1,"vtep":"198.%d.%d.%d","mtu":1500}`, 18+moved%2, host>>8, host&0xff)
}

// put gathers what is written: flush writes the rest, and says what went wrong.
func (r *records) put(ctx context.Context, key, value string) {
	if len(r.pending) >= txnMax {
		_ = r.flush(ctx) // they stay, and the last flush says so
	}
	r.pending = append(r.pending, etcd.Set(root+key, value))
}

func (r *records) flush(ctx context.Context) error {
	for len(r.pending) > 0 {
		count := min(len(r.pending), txnMax)
		if _, err := r.store.Txn(ctx, etcd.Txn{Then: r.pending[:count]}); err != nil {
			return err
		}
		r.pending = r.pending[count:]
	}
	return nil
}

// join makes a host a member of a network.
func (r *records) join(ctx context.Context, network, host int) {
	at := host
	if at >= r.hosts { // who comes later takes the last: the agent may have the one after those of all
		at = 1<<13 - 1 - (host - r.hosts)
	}
	block := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(network), byte(at >> 5), byte(at & 0x1f << 3)}), 29)
	r.put(ctx, "net/"+r.networks[network]+"/nodes/"+nodeName(host), `{"version":1}`)
	r.put(ctx, "net/"+r.networks[network]+"/blocks/"+block.String(), nodeName(host))
}

// cpu is what a process has used.
func (a *agent) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.process.Pid()))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0, fmt.Errorf("proc_pid_stat(5): %w", err)
	}
	const perSecond = 100 // USER_HZ
	return time.Duration(user+system) * time.Second / perSecond, nil
}

// rest waits until the agent has used next to nothing for a while.
func (a *agent) rest(ctx context.Context) (used time.Duration, err error) {
	const look, little = 500 * time.Millisecond, 10 * time.Millisecond
	for calm := 0; calm < 4; {
		before := used
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if used, err = a.cpu(); err != nil {
			return 0, err
		}
		if calm++; used-before > little {
			calm = 0
		}
	}
	return used, nil
}

// costs measures the processor's time that one agent takes for what happens in a cluster of many hosts and networks.
func costs(ctx context.Context, o options, endpoints []string, dir string) error {
	r, err := newRecords(ctx, o, endpoints)
	if r != nil {
		defer r.store.Close()
	}
	if err != nil {
		return err
	}
	joined := r.networks[:min(o.joined, len(r.networks))]
	a, err := startAgent(o.fairwayd, dir, endpoints, "--audit-interval=1h", "--join="+strings.Join(joined, ","))
	if err != nil {
		return err
	}
	defer func() { a.stop() }()
	if _, err := a.awaitPeers(ctx, fmt.Sprint("fwvx", 5000+len(joined)-1), o.hosts); err != nil {
		return err
	}
	used, err := a.rest(ctx)
	if err != nil {
		return err
	}
	row(fmt.Sprintf("start on %d of %d networks with %d hosts each: CPU", len(joined), o.networks, o.hosts), used)
	if err := a.printMemory(); err != nil {
		return err
	}
	for _, event := range r.events() {
		before, err := a.rest(ctx)
		if err != nil {
			return err
		}
		for i := range o.rounds {
			if err := event.happens(ctx, i); err != nil {
				return err
			}
			time.Sleep(200 * time.Millisecond) // each is a batch of its own
		}
		after, err := a.rest(ctx)
		if err != nil {
			return err
		}
		row(event.name+": CPU of each", (after-before)/time.Duration(o.rounds))
	}
	return auditCost(ctx, o, endpoints, dir, a, joined)
}

type event struct {
	name    string
	happens func(ctx context.Context, i int) error
}

// events are what happens in a cluster all the time.
func (r *records) events() []event {
	write := func(ctx context.Context, key, value string) error {
		r.put(ctx, key, value)
		return r.flush(ctx)
	}
	return []event{
		{"a host joins one network", func(ctx context.Context, i int) error {
			host := r.hosts + i
			r.put(ctx, "nodes/"+nodeName(host), hostRecord(host, 0))
			r.join(ctx, 0, host)
			return r.flush(ctx)
		}},
		{"a host of all networks moves", func(ctx context.Context, i int) error { return write(ctx, "nodes/"+nodeName(i), hostRecord(i, 1)) }},
		{"first container of a host", func(ctx context.Context, i int) error {
			return write(ctx, "net/"+r.networks[0]+"/used/"+nodeName(i), "")
		}},
		{"a host is started again", func(ctx context.Context, i int) error { return write(ctx, "alive/"+nodeName(i), "boot") }},
		{"a network is made that the agent is not on", func(ctx context.Context, i int) error {
			subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i)}), 24)
			_, err := registry.New(r.store).Create(ctx, agentapi.Network{Name: fmt.Sprint("other", i), Subnets: []agentapi.Subnet{{Prefix: subnet, BlockLength: 29}}})
			return err
		}},
		{"a link of somebody else appears", func(_ context.Context, i int) error {
			return command(fmt.Sprintf("ip link add cali%d type veth peer name lxc%d", i, i))
		}},
	}
}

// auditCost is what comparing all with the kernel takes.
func auditCost(ctx context.Context, o options, endpoints []string, dir string, a *agent, joined []string) error {
	const interval, count = time.Minute, 2
	a.stop()
	audited, err := runAgent(o.fairwayd, dir, endpoints, fmt.Sprint("--audit-interval=", interval), "--join="+strings.Join(joined, ","))
	if err != nil {
		return err
	}
	*a = *audited
	if _, err := a.rest(ctx); err != nil {
		return err
	}
	before, err := a.cpu()
	if err != nil {
		return err
	}
	select {
	case <-time.After(count * interval):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := a.cpu()
	row("an audit of all networks: CPU", (after-before)/count)
	return err
}

func (a *agent) printMemory() error {
	resident, err := a.memory()
	fmt.Printf("%-72s %10.1f MiB\n", "memory of that agent (resident)", resident)
	return err
}

func (a *agent) stop() { _ = a.process.Stop(unix.SIGTERM) } // it has been measured
