package hookhub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 30 * time.Second
	maxBody      = 64 << 20
)

// call is one request, and what is known about repeating it.
type call struct {
	method string
	path   string
	query  url.Values
	body   any
	lines  [][]byte
	// Whether repeating the request is safe; it is by its method for all but POST.
	repeatable bool
	// The API's answer to a request that it has carried out before: after an attempt that may have been, it is success.
	doneStatus int
	// How long the API may let the request wait.
	waits time.Duration
}

// answer is a response whose body was read.
type answer struct {
	*http.Response
	body []byte
}

// do sends a request, repeats it where that is safe, and returns the successful response.
func (c *Client) do(ctx context.Context, asked call) (*answer, error) {
	if err := checkPath(asked.path); err != nil {
		return nil, err
	}
	content, contentType, err := asked.content()
	if err != nil {
		return nil, err
	}
	// A POST that is not idempotent is repeated only if it certainly had no effect: the connection was not established,
	// or the response was 429.
	repeatable := asked.repeatable || asked.method != http.MethodPost
	until := time.Now().Add(c.deadline + asked.waits)
	mayBeDone := false
	for attempt := 1; ; attempt++ {
		found, err := c.send(ctx, asked, content, contentType, min(c.timeout+asked.waits, time.Until(until)))
		var failure *Error
		var requested time.Duration
		mayRepeat := repeatable
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			tried := ""
			if attempt > 1 {
				tried = fmt.Sprintf(" after %d attempts", attempt)
			}
			failure = &Error{Code: "connection_failed", Message: fmt.Sprintf("no response%s: %v", tried, err), cause: err}
			arrived := !neverArrived(err)
			mayRepeat = isTransient(err) && (repeatable || !arrived)
			mayBeDone = mayBeDone || arrived
		} else {
			status := found.StatusCode
			if status >= 200 && status < 300 || mayBeDone && status == asked.doneStatus {
				return found, nil
			}
			failure = rejection(found.Response, found.body)
			requested = retryAfter(found.Header.Get("Retry-After"), time.Now())
			mayRepeat = status == 429 || repeatable && status >= 502 && status <= 504
			mayBeDone = mayBeDone || status != 429
		}
		pause := max(requested, backoff(attempt, rand.Float64()))
		// Better an error now, by which the caller can decide, than after a wait that cannot help.
		if !mayRepeat || attempt > c.retries || time.Now().Add(pause).After(until) {
			return nil, failure
		}
		if err := c.sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

func (c *Client) send(
	ctx context.Context, asked call, content []byte, contentType string, timeout time.Duration,
) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	address := c.base + "/" + asked.path
	if query := c.query(asked); len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, asked.method, address, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Authorization", "Bearer "+c.apiKey)
	request.Header.Set("User-Agent", userAgent)
	// Some organizations get another vendor's JSON at the same URLs; this client understands only the native one.
	request.Header.Set("HookHub-Dialect", "native")
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, err
	}
	return &answer{response, body}, nil
}

// query returns the query of a request, which names the client's organization unless the path does.
func (c *Client) query(asked call) url.Values {
	isNamed := strings.HasPrefix(asked.path, "organizations") || asked.path == "meta"
	if c.organization == "" || isNamed {
		return asked.query
	}
	query := url.Values{"organization": {c.organization}}
	for name, values := range asked.query {
		query[name] = values
	}
	return query
}

func (asked call) content() (content []byte, contentType string, err error) {
	if asked.lines != nil {
		return append(bytes.Join(asked.lines, []byte("\n")), '\n'), "application/x-ndjson", nil
	}
	if asked.body == nil {
		return nil, "", nil
	}
	content, err = encode(asked.body)
	return content, "application/json", err
}

// path returns the path of a resource, whose parts stay in their places: do refuses a path that has others.
func path(parts ...string) string {
	for at, part := range parts {
		parts[at] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// checkPath returns an error for a path with a part that would leave its place. Even if encoded, proxies resolve dots:
// "repositories/.." would be "/v1/". They may merge the slashes around an empty part, too.
func checkPath(path string) error {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%q is not an id or a name", part)
		}
	}
	return nil
}

// backoff returns the pause after the failed attempt number attempt (from 1); jitter is from 0 to 1.
func backoff(attempt int, jitter float64) time.Duration {
	whole := min(firstBackoff<<min(attempt-1, 16), maxBackoff)
	return time.Duration(float64(whole) * (0.5 + jitter/2))
}

// retryAfter returns the wait that a Retry-After header asks for (seconds or an HTTP date); 0 if it cannot be parsed.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if header != "" && strings.Trim(header, "0123456789") == "" {
		return 24 * 365 * time.Hour
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// neverArrived reports whether the connection was never established, so that no byte can have reached the server.
func neverArrived(err error) bool {
	var operation *net.OpError
	var name *net.DNSError
	return errors.As(err, &name) || errors.As(err, &operation) && operation.Op == "dial"
}

// isTransient reports whether an error may pass: not that of a certificate, or of a request that cannot be sent.
func isTransient(err error) bool {
	var failed *url.Error
	if !errors.As(err, &failed) {
		// It broke while the body was read.
		return true
	}
	for _, sign := range []string{"x509:", "tls: failed to verify", "unsupported protocol scheme", "server gave HTTP"} {
		if strings.Contains(failed.Err.Error(), sign) {
			return false
		}
	}
	return true
}

// addTo sets a parameter of a query, unless its value is zero.
func addTo(values url.Values, name string, value any) {
	switch given := value.(type) {
	case []string:
		for _, each := range given {
			values.Add(name, each)
		}
	case *bool:
		if given != nil {
			values.Set(name, strconv.FormatBool(*given))
		}
	case time.Time:
		if !given.IsZero() {
			values.Set(name, given.Format(time.RFC3339Nano))
		}
	default:
		if text := fmt.Sprint(given); text != "" && text != "0" {
			values.Set(name, text)
		}
	}
}

// encode returns JSON without the escapes that json.Marshal makes for HTML.
func encode(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), nil
}

func sleep(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
