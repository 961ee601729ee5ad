package resolver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/names"
)

// listenControl opens the socket by which plugins tell of records. Whoever has the lock of the directory may replace one that
// an earlier resolver has left.
func listenControl(d names.Directory) (*net.UnixListener, error) {
	path := d.Socket()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
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
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			time.Sleep(10 * time.Millisecond) // no descriptor is free
			continue
		}
		go r.serveCall(conn)
	}
}

// serveCall answers one call: a line that names a record's file, names.Leave or names.Release.
func (r *Resolver) serveCall(conn net.Conn) {
	defer conn.Close()
	const patience, longest = 5 * time.Second, 256
	if conn.SetDeadline(time.Now().Add(patience)) != nil {
		return
	}
	line, err := bufio.NewReaderSize(conn, longest).ReadSlice('\n')
	if err != nil {
		return
	}
	answer := names.Done
	if err := r.call(strings.TrimSuffix(string(line), "\n")); err != nil {
		answer = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	fmt.Fprintln(conn, answer)
}

func (r *Resolver) call(line string) error {
	switch {
	case line == names.Leave:
		if !r.Temporary {
			return errors.New("fairwayd is a service of this host: stop that")
		}
		r.leave()
		return nil
	case line == names.Release:
		r.release()
		return nil
	case names.IsFile(line):
		return r.records.load(line)
	}
	return fmt.Errorf("%q is no record's file", line)
}
