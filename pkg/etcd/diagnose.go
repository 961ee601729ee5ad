package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// diagnoseTimeout is enough for a handshake with a member that answers at all.
const diagnoseTimeout = 5 * time.Second

// diagnosis is why requests fail, as it was found out last. An etcd that is overloaded gets no connection for each request that
// it does not answer.
type diagnosis struct {
	mu    sync.Mutex
	at    time.Time
	cause error
}

// diagnosisValid is for how long a diagnosis is good.
const diagnosisValid = 2 * time.Second

// of is the cause of an error; nil when nothing clearer can be said.
func (d *diagnosis) of(ctx context.Context, c *Client) error {
	if ctx.Err() != nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.at) > diagnosisValid {
		d.cause = c.diagnose(ctx)
		d.at = time.Now()
	}
	return d.cause
}

// diagnose finds out why requests fail, by asking the members directly: the client library tells a deadline, and why it
// found no connection only as text. Nil: a member answers as it should, or nothing clearer can be said.
func (c *Client) diagnose(ctx context.Context) error {
	var last error
	for _, endpoint := range c.config.Endpoints {
		err := c.knock(ctx, endpoint)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		last = err
		if errors.Is(err, ErrTLS) {
			return err
		}
	}
	return last
}

// knock connects to a member as the client would.
func (c *Client) knock(ctx context.Context, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return unreachable(endpoint, err)
	}
	defer func() { _ = conn.Close() }() // nothing is said
	if c.config.TLS == nil {
		return listenPlain(endpoint, conn)
	}
	config := c.config.TLS.Config()
	config.ServerName = u.Hostname()
	config.NextProtos = []string{"h2"}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return mismatch(endpoint, err)
	}
	return awaitRefusal(endpoint, secure)
}

func unreachable(endpoint string, err error) error {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("nobody listens on %s: start etcd there, or correct etcd-endpoints", endpoint)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s does not answer: look at the network between, or correct etcd-endpoints", endpoint)
	}
	return fmt.Errorf("%s is not reachable: %w", endpoint, err)
}

// mismatch says which side of TLS does not fit.
func mismatch(endpoint string, err error) error {
	var plain tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	cause := err.Error()
	switch {
	case errors.As(err, &plain), errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET): // it hangs up at what is no HTTP
		cause = "etcd speaks plain HTTP there: write http:// in etcd-endpoints, or give etcd a certificate"
	case errors.As(err, &authority):
		cause = "etcd's certificate is signed by an authority that is not in etcd-cacert: give the file of the right one"
	case errors.As(err, &name):
		cause = fmt.Sprintf("etcd's certificate is not for %s: use a name or address that it lists, or have it list this one", name.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		cause = "etcd's certificate is expired or not yet valid: renew it, or set this host's clock"
	}
	return fmt.Errorf("%w with %s: %s", ErrTLS, endpoint, cause)
}

// awaitRefusal waits for the server's word on this host's certificate, which in TLS 1.3 comes after the handshake. A server
// that is content sends its HTTP/2 settings.
func awaitRefusal(endpoint string, conn *tls.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(diagnoseTimeout)); err != nil {
		return nil
	}
	_, err := conn.Read(make([]byte, 1))
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" { // how crypto/tls tells the peer's alerts
		return fmt.Errorf("%w with %s: etcd refuses this host's certificate (%w): give one that etcd's authority signed, by etcd-cert and etcd-key",
			ErrTLS, endpoint, alert.Err)
	}
	return nil
}

// http2Preface begins a connection of a client (RFC 9113, section 3.4), with empty settings.
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// listenPlain tells a server that wants TLS by its closing the connection, or by its answer: HTTP/2 begins with a frame of
// settings, whose type is the fourth byte.
func listenPlain(endpoint string, conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(diagnoseTimeout)); err != nil {
		return nil
	}
	if _, err := conn.Write([]byte(http2Preface)); err != nil {
		return nil
	}
	answer := make([]byte, 4)
	if _, err := conn.Read(answer); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return unreachable(endpoint, err)
		}
		return fmt.Errorf("%w with %s: etcd hangs up, as it does when it wants TLS: write https:// in etcd-endpoints and give etcd-cacert", ErrTLS, endpoint)
	}
	const settings = 4
	if answer[3] != settings {
		return fmt.Errorf("%w with %s: what listens there is no etcd, or wants TLS: write https:// in etcd-endpoints, or correct it", ErrTLS, endpoint)
	}
	return nil
}
