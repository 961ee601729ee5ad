package resolver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/nameport"
	"github.com/fairway-cni/fairway/pkg/names"
)

// listenControl opens the socket by which plugins tell of records. Whoever has the lock of the directory may replace one that
// an earlier resolver has left.
func listenControl(d names.Directory) (*net.UnixListener, error) {
	path := d.Socket()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// serveControl answers on the socket until it is closed.
func (r *Resolver) serveControl(ctx context.Context, l *net.UnixListener) error {
	for {
		conn, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			time.Sleep(10 * time.Millisecond) // no descriptor is free
			continue
		}
		go r.serveCaller(conn)
	}
}

// serveCaller answers the calls of one connection. Who only tells and does not wait has gone by the time of the answer.
func (r *Resolver) serveCaller(conn *net.UnixConn) {
	defer func() { _ = conn.Close() }() // nothing is buffered
	const patience = 5 * time.Second
	buffer, control := make([]byte, names.MaxCall), make([]byte, unix.CmsgSpace(4*8))
	for {
		if conn.SetDeadline(time.Now().Add(patience)) != nil {
			return
		}
		n, controlled, _, _, err := conn.ReadMsgUnix(buffer, control)
		if err != nil || n == 0 {
			return
		}
		text := string(buffer[:n])
		answer := names.Done
		if network, name, ok := names.ParseLookup(text); ok {
			answer += r.lookup(network, name)
		} else if err := r.call(text, descriptors(control[:controlled])); err != nil {
			answer = err.Error()
		}
		_, _ = conn.Write([]byte(answer))
	}
}

// lookup is what is found, in lines, as far as an answer has room for.
func (r *Resolver) lookup(network, name string) string {
	var text strings.Builder
	for _, line := range r.index.Find(network, name) {
		if text.Len()+len(line) > names.MaxAnswer/2 {
			break
		}
		text.WriteString("\n" + line)
	}
	return text.String()
}

// descriptors are those that came with a call.
func descriptors(control []byte) (all []int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for i := range messages {
		if some, err := unix.ParseUnixRights(&messages[i]); err == nil {
			all = append(all, some...)
		}
	}
	return all
}

// call acts on one call. The descriptors are its own.
func (r *Resolver) call(text string, handed []int) error {
	if n, ok := names.ParseAdopt(text); ok && len(handed) == 2 {
		return r.spaces.adopt(n, nameport.Sockets{UDP: handed[0], TCP: handed[1]})
	}
	for _, fd := range handed {
		unix.Close(fd)
	}
	switch {
	case text == names.Leave:
		if !r.Temporary {
			return errors.New("fairwayd is a service of this host: stop that")
		}
		r.leave()
		return nil
	case text == names.Release:
		r.release()
		return nil
	case names.IsFile(text):
		return r.records.load(text)
	}
	return fmt.Errorf("%q is no call", text)
}
