package plugins

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// mapping is an entry of the capability portMappings.
func mapping(host, container int) map[string]any {
	return map[string]any{"hostPort": host, "containerPort": container, "protocol": "tcp"}
}

// publishing is portmap behind an attachment, with ports.
func (a attachment) publishing(result *types100.Result, mappings ...map[string]any) attachment {
	return a.behind(result, "portmap", map[string]any{
		"capabilities": map[string]bool{"portMappings": true}, "runtimeConfig": map[string]any{"portMappings": mappings},
	})
}

// listen serves TCP in a namespace until the test ends.
func listen(t *testing.T, n *testnet.Namespace, at string) {
	t.Helper()
	var l net.Listener
	if err := n.Do(func() (err error) { l, err = net.Listen("tcp4", at); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(n.Path[strings.LastIndexByte(n.Path, '-')+1:]))
			_ = c.Close()
		}
	}()
}

// whoAnswers is who answers in TCP, or "".
func whoAnswers(from *testnet.Namespace, to string, within time.Duration) string {
	answer, n := make([]byte, 64), 0
	_ = from.Do(func() error {
		c, err := net.DialTimeout("tcp", to, within)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(within))
		n, err = c.Read(answer)
		return err
	})
	return string(answer[:n])
}

// TestPortmap: a port leads to the container as long as it is attached, whatever DEL is told.
func TestPortmap(t *testing.T) {
	for _, tt := range []struct {
		name string
		del  func(attachment) attachment
	}{
		{"as ADD", func(a attachment) attachment { return a }},
		{"without ports", func(a attachment) attachment { return a.with("runtimeConfig", nil) }},
		{"without a namespace", func(a attachment) attachment { return a.withEnv("CNI_NETNS", "") }},
		{"without a result", func(a attachment) attachment {
			return a.with("prevResult", nil).with("runtimeConfig", nil).withEnv("CNI_NETNS", "")
		}},
		{"other ports", func(a attachment) attachment {
			return a.with("runtimeConfig", map[string]any{"portMappings": []any{mapping(1, 1)}})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			container := testnet.NewNS(t, "c")
			a := bridgeOn(t, container)
			a.host.Sh(t, "ip", "link", "set", "lo", "up")
			before := a.host.Sh(t, "nft", "list", "ruleset")
			result := a.add(t)
			port := a.publishing(result, mapping(8080, 80))
			port = port.after(port.add(t))
			port.succeed(t, "CHECK")
			a.after(result).succeed(t, "CHECK")
			listen(t, container, ":80")
			for _, by := range []string{"127.0.0.1:8080", "10.1.0.1:8080"} {
				wantText(t, "who answers by "+by, "c", whoAnswers(a.host, by, 10*time.Second))
			}
			wantText(t, "who answers the container itself", "c", whoAnswers(container, "10.1.0.1:8080", 10*time.Second))
			tt.del(port).succeed(t, "DEL")
			tt.del(port).succeed(t, "DEL")
			wantText(t, "who answers after DEL", "", whoAnswers(a.host, "127.0.0.1:8080", 200*time.Millisecond))
			if got := port.fail(t, "CHECK", 100); !strings.Contains(got, `nftables set published_any4 has no element of "fairway net c eth0"`) {
				t.Errorf("CHECK says %q", got)
			}
			a.after(result).succeed(t, "DEL")
			if diff := cmp.Diff([]string(nil), a.elements(t)); diff != "" {
				t.Errorf("elements after DEL (-want +got):\n%s\nbefore:\n%s", diff, before)
			}
		})
	}
}

// TestPortmapOfTwoNetworks: DEL of one network leaves the container's ports of the other.
func TestPortmapOfTwoNetworks(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := bridgeOn(t, container)
	b := a.with("name", "other").with("bridge", "br1").withIPAM("ranges", [][]map[string]string{{{"subnet": "10.2.0.0/24"}}}).on(container, "eth1")
	first, second := a.publishing(a.add(t), mapping(8080, 80)), b.publishing(b.add(t), mapping(8081, 80))
	first.add(t)
	second = second.after(second.add(t))
	first.succeed(t, "DEL")
	second.succeed(t, "CHECK")
	second.gcCall().with("cni.dev/valid-attachments", alive("c")).succeed(t, "GC") // eth0 of this name is another attachment
	if diff := cmp.Diff([]string{"fairway net c eth0", "fairway other c eth1"}, a.elements(t)); diff != "" {
		t.Errorf("elements (-want +got):\n%s", diff)
	}
}

// TestPortmapConflict names who has the port, with the code for the configuration, and leaves nothing.
func TestPortmapConflict(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.publishing(a.add(t), mapping(8080, 80)).add(t)
	b := a.on(testnet.NewNS(t, "d"), "eth0")
	second := b.publishing(b.add(t), mapping(8081, 80), mapping(8080, 80))
	before := second.traces(t)
	wantText(t, "sentence", "port 8080/tcp is already published by container c of network net, in conflict with the configuration: "+
		"stop that one, or choose another port of the host", second.fail(t, "ADD", 7))
	second.wantUnchanged(t, before)

	a.host.Sh(t, "ip", "link", "set", "lo", "up")
	listen(t, a.host, "127.0.0.1:8082")
	third := b.publishing(second.conf["prevResult"].(*types100.Result), mapping(8082, 80))
	want := fmt.Sprintf("port 8082/tcp of the host is in use: %s (process %d) listens on 127.0.0.1:8082, "+
		"in conflict with the configuration: stop it, or choose another port of the host", filepath.Base(os.Args[0]), os.Getpid())
	wantText(t, "sentence", want, third.fail(t, "ADD", 7))
	third.withEnv("CNI_NETNS", "").succeed(t, "DEL")
}

// TestPortHeldByTheRuntime: nerdctl has a process `sleep infinity` hold the ports that it publishes, before ADD.
func TestPortHeldByTheRuntime(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.host.Sh(t, "ip", "link", "set", "lo", "up")
	port := a.publishing(a.add(t), mapping(8083, 80))
	var held *os.File
	if err := a.host.Do(func() error {
		l, err := net.Listen("tcp4", "0.0.0.0:8083")
		if err != nil {
			return err
		}
		defer l.Close()
		held, err = l.(*net.TCPListener).File()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	holder := exec.Command("sleep", "infinity")
	holder.ExtraFiles = []*os.File{held}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = holder.Process.Kill(), holder.Wait() })
	_ = held.Close() // the holder has it
	port.after(port.add(t)).succeed(t, "CHECK")
}

// TestPortmapAtOnce: many containers at once ask for many ports; each gets all of its own, and GC takes what a lost DEL left.
func TestPortmapAtOnce(t *testing.T) {
	const count, each = 20, 32
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.host.Sh(t, "ip", "link", "set", "lo", "up")
	all := make([]attachment, count)
	for i := range all {
		b := a.on(testnet.NewNS(t, fmt.Sprintf("x%d", i)), "eth0")
		var mappings []map[string]any
		for n := range each {
			mappings = append(mappings, mapping(10000+i*100+n*2, 80))
		}
		all[i] = b.publishing(b.add(t), mappings...)
	}
	var done sync.WaitGroup
	for _, p := range all {
		done.Go(func() {
			if got := p.run(t, "ADD"); got.code != 0 {
				t.Errorf("ADD: %s", got.stdout)
			}
		})
	}
	done.Wait()
	for _, p := range all {
		p.succeed(t, "CHECK")
	}
	for _, p := range all[:count/2] {
		done.Go(func() {
			if got := p.run(t, "DEL"); got.code != 0 {
				t.Errorf("DEL: %s", got.stdout)
			}
		})
	}
	done.Wait()
	all[count-1].succeed(t, "CHECK")
	all[0].gcCall().with("cni.dev/valid-attachments", alive(fmt.Sprintf("x%d", count-1))).succeed(t, "GC")
	all[count-1].succeed(t, "CHECK")
	const beside = 3 // hairpin4, self4, publishers
	if got := strings.Count(a.host.Sh(t, "nft", "list", "table", "inet", "fairway_ports"), `comment "fairway net`); got != each+beside {
		t.Errorf("%d elements after GC, want %d", got, each+beside)
	}
}

// TestPortmapBehindUpstream: the whole list may be of two suites.
func TestPortmapBehindUpstream(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := bridgeOn(t, container).with("cniVersion", "1.0.0").with("macspoofchk", nil).with("ipMasq", nil)
	a.host.Sh(t, "ip", "link", "set", "lo", "up")
	a.plugin = upstream(t, "bridge")
	port := a.publishing(a.add(t), mapping(8080, 80))
	port.after(port.add(t)).succeed(t, "CHECK")
	listen(t, container, ":80")
	wantText(t, "who answers", "c", whoAnswers(a.host, "127.0.0.1:8080", 10*time.Second))
	port.succeed(t, "DEL")
}
