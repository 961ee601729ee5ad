package testnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// EtcdMember is one etcd of a cluster. Its package is Debian's etcd-server.
type EtcdMember struct {
	// Name is the member's in its cluster.
	Name string
	// Address is what it listens on, at etcd's own ports.
	Address string
	// Dir is for its data.
	Dir string
	// In is the namespace that it runs in; nil is the program's.
	In *Namespace
	// TLS is nil for plain HTTP.
	TLS *EtcdTLS
	// Life is UntilDown for a member that outlives the program.
	Life Life
	// Log is the file that such a member writes to.
	Log string
}

// EtcdTLS is files in PEM.
type EtcdTLS struct {
	// CA signed the certificates of the clients, which the member insists on.
	CA string
	// Cert and Key are the member's.
	Cert, Key string
}

const (
	etcdClientPort, etcdPeerPort = "2379", "2380"
	// etcdReady is what a member says when it has found a leader (etcd 3.4 to 3.6).
	etcdReady = "published local member to cluster"
	// etcdStartMax is how long a member may take on a busy machine.
	etcdStartMax = 2 * time.Minute
)

// Endpoint is the URL for clients.
func (m EtcdMember) Endpoint() string {
	scheme := "http"
	if m.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(m.Address, etcdClientPort)
}

func (m EtcdMember) dataDir() string { return filepath.Join(m.Dir, m.Name) }

func (m EtcdMember) peerURL() string { return "http://" + net.JoinHostPort(m.Address, etcdPeerPort) }

// command runs the member, anew or on the data that it has.
func (m EtcdMember) command(cluster []EtcdMember) *exec.Cmd {
	var all []string
	for _, other := range cluster {
		all = append(all, other.Name+"="+other.peerURL())
	}
	args := []string{
		"--name=" + m.Name, "--data-dir=" + m.dataDir(), "--initial-cluster=" + strings.Join(all, ","),
		"--listen-client-urls=" + m.Endpoint(), "--advertise-client-urls=" + m.Endpoint(),
		"--listen-peer-urls=" + m.peerURL(), "--initial-advertise-peer-urls=" + m.peerURL(),
		"--logger=zap", "--log-outputs=stderr",
		"--unsafe-no-fsync", // test data needs no disk
	}
	if len(cluster) > 1 { // a busy machine needs patience; one member alone waits for nobody
		args = append(args, "--heartbeat-interval=200", "--election-timeout=2000")
	}
	if m.TLS != nil {
		args = append(args, "--client-cert-auth", "--trusted-ca-file="+m.TLS.CA, "--cert-file="+m.TLS.Cert, "--key-file="+m.TLS.Key)
	}
	if m.In != nil {
		return m.In.Command("etcd", args...)
	}
	return exec.Command("etcd", args...)
}

// Etcd is a running cluster.
type Etcd struct {
	members   []EtcdMember
	processes []*Process // nil: stopped
}

// StartEtcd starts a cluster and waits until each member serves.
func StartEtcd(members ...EtcdMember) (*Etcd, error) {
	e := &Etcd{members: members, processes: make([]*Process, len(members))}
	for i := range members {
		if err := e.launch(i); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	for i := range members {
		if err := e.ready(i); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	return e, nil
}

func (e *Etcd) launch(i int) (err error) {
	m := e.members[i]
	e.processes[i], err = m.Life.start(m.command(e.members), m.Log)
	return err
}

func (e *Etcd) ready(i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), etcdStartMax)
	defer cancel()
	return e.processes[i].Await(ctx, etcdReady)
}

// Endpoints are the URLs of all members.
func (e *Etcd) Endpoints() []string {
	var urls []string
	for _, m := range e.members {
		urls = append(urls, m.Endpoint())
	}
	return urls
}

// Kill ends a member as a crash does.
func (e *Etcd) Kill(i int) error {
	p := e.processes[i]
	if p == nil {
		return nil
	}
	e.processes[i] = nil
	return p.Stop(unix.SIGKILL)
}

// Restart starts members that were killed, on the data that they have, and waits until they serve.
func (e *Etcd) Restart(members ...int) error {
	for _, i := range members {
		if err := e.launch(i); err != nil {
			return err
		}
	}
	for _, i := range members {
		if err := e.ready(i); err != nil {
			return err
		}
	}
	return nil
}

// Ctl runs etcdctl with one member as its endpoint.
func (e *Etcd) Ctl(member int, args ...string) (string, error) {
	m := e.members[member]
	args = append([]string{"--endpoints=" + m.Endpoint()}, args...)
	cmd := exec.Command("etcdctl", args...)
	if m.In != nil {
		cmd = m.In.Command("etcdctl", args...)
	}
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out), nil
}

// Close ends all members.
func (e *Etcd) Close() error {
	var errs []error
	for i := range e.processes {
		errs = append(errs, e.Kill(i))
	}
	return errors.Join(errs...)
}

// run runs a command where a member's data is.
func (m EtcdMember) run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	if m.In != nil {
		cmd = m.In.Command(name, args...)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// Lose ends a member that was killed or not, and takes away its data.
func (e *Etcd) Lose(i int) error {
	return errors.Join(e.Kill(i), e.members[i].run("rm", "-r", e.members[i].dataDir()))
}

// Backup copies the data of a member, which it stops for that.
func (e *Etcd) Backup(i int) error {
	m := e.members[i]
	if err := errors.Join(e.Kill(i), m.run("cp", "-r", m.dataDir(), m.dataDir()+".backup")); err != nil {
		return err
	}
	return e.Restart(i)
}

// Restore makes the data of a member what Backup has copied, and starts it.
func (e *Etcd) Restore(i int) error {
	m := e.members[i]
	if err := errors.Join(e.Lose(i), m.run("cp", "-r", m.dataDir()+".backup", m.dataDir())); err != nil {
		return err
	}
	return e.Restart(i)
}
