package hookhub

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// VerifyOptions say what a request is verified with.
type VerifyOptions struct {
	// Secrets are all that are valid: two during a rotation.
	Secrets []string
	// Format is the wire format of the webhook. The default is standard-webhooks.
	Format Format
	// Tolerance is how old a request may be where the format signs its time. The default is 5 minutes; a negative one
	// turns the check off.
	Tolerance time.Duration
	// MaxEventAge is how old an event may be, where the format signs the time of the event (coregit, codmir). The default
	// is any age.
	MaxEventAge time.Duration
	// Now replaces the clock in tests.
	Now time.Time
}

// Received is a verified event.
type Received struct {
	// Type is signed where it is part of the body (standard-webhooks, cloudevents, mcp-event, coregit, codmir). Elsewhere
	// it comes from an unsigned header: check that the data fits it. It is empty for websub, which does not say it.
	Type string
	// ID is the same on every retry and redelivery: store it to process an event only once. Empty where it is not signed.
	ID string
	// Timestamp is the time of the request, or of the event for coregit and codmir. Zero where none is signed.
	Timestamp time.Time
	// Data is the JSON payload.
	Data json.RawMessage
}

// VerificationError is returned for a request that could not be verified as HookHub's and must be rejected.
type VerificationError struct {
	// Code is missing_header, malformed_header, wrong_signature, wrong_time (too old, or in the future) or invalid_body
	// (signed, but not what the format sends).
	Code    string
	Message string
}

func (e *VerificationError) Error() string { return e.Message }

const (
	defaultTolerance = 5 * time.Minute
	// Far more than any header HookHub sends; a limit on the work that an unauthenticated request can cause.
	maxHeaderLength = 8192
	// HookHub signs with five secrets at most; more signatures than this are ignored.
	maxSignatures = 20
	// How far the clock of a Code Storage may be ahead.
	maxClockSkew = time.Minute
	// What may surround a header's value; white space is not the same in every language.
	whiteSpace = " \t\r\n"
)

// request is an unverified request, and what to verify it with.
type request struct {
	VerifyOptions
	body    []byte
	headers map[string][]string
}

// Verify verifies a request's signature and returns its event, or a *VerificationError.
//
// The body is the raw one: JSON that was parsed and serialized again no longer matches its signature. A mistake of the
// caller, such as no secret or an unknown format, is another error for every request.
func Verify(body []byte, header http.Header, options VerifyOptions) (*Received, error) {
	if len(options.Secrets) == 0 {
		return nil, errors.New("Verify requires at least one secret")
	}
	if options.Format == "" {
		options.Format = "standard-webhooks"
	}
	verifier, known := verifiers[options.Format]
	if !known {
		return nil, fmt.Errorf("Verify: the format %q is unknown, or not signed", options.Format)
	}
	for _, secret := range options.Secrets {
		// An attacker can sign with an empty key, too.
		if secret == "" {
			return nil, errors.New("Verify requires secrets that are not empty")
		}
		if codedSecrets[options.Format] && keyOf(secret) == nil {
			return nil, fmt.Errorf("a %s secret is 'whsec_' followed by base64; copy it exactly as HookHub showed it", options.Format)
		}
	}
	if options.Tolerance == 0 {
		options.Tolerance = defaultTolerance
	}
	if options.Now.IsZero() {
		options.Now = time.Now()
	}
	headers := map[string][]string{}
	for name, values := range header {
		name = strings.ToLower(name)
		headers[name] = append(headers[name], values...)
	}
	return verifier(&request{options, body, headers})
}

func (r *request) textKeys() [][]byte {
	var keys [][]byte
	for _, secret := range r.Secrets {
		keys = append(keys, []byte(secret))
	}
	return keys
}

func (r *request) header(name string) (string, error) {
	values := r.headers[name]
	if len(values) > 1 {
		return "", &VerificationError{"malformed_header", fmt.Sprintf("The %s header is repeated.", name)}
	}
	if len(values) == 0 || strings.Trim(values[0], whiteSpace) == "" {
		return "", &VerificationError{"missing_header", fmt.Sprintf("The %s header is missing or empty.", name)}
	}
	if value := strings.Trim(values[0], whiteSpace); len(value) <= maxHeaderLength {
		return value, nil
	}
	message := fmt.Sprintf("The %s header is longer than %d characters.", name, maxHeaderLength)
	return "", &VerificationError{"malformed_header", message}
}

func (r *request) eventTime(value json.RawMessage) (time.Time, error) {
	written, _ := text(value)
	moment, isTime := rfc3339(written)
	if !isTime {
		return time.Time{}, invalidBody("\"timestamp\" in the body is not an RFC 3339 time")
	}
	age := r.Now.Sub(moment)
	if r.MaxEventAge > 0 && (age > r.MaxEventAge || age < -max(r.Tolerance, 0)) {
		message := fmt.Sprintf("The signature is valid, but the event's time %s is too old or in the future.", written)
		return time.Time{}, &VerificationError{"wrong_time", message}
	}
	return moment, nil
}

func demandMatch(keys, claimed [][]byte, content []byte, algorithm func() hash.Hash) error {
	matches := false
	for _, key := range keys {
		code := hmac.New(algorithm, key)
		code.Write(content)
		expected := code.Sum(nil)
		for _, signature := range claimed {
			matches = hmac.Equal(signature, expected) || matches
		}
	}
	if !matches {
		message := "No signature matches: the secret is wrong, or the body was modified after it was signed."
		return &VerificationError{"wrong_signature", message}
	}
	return nil
}

// keyOf returns the key in a secret (prefix and padding optional), or nil for a secret of another form.
func keyOf(secret string) []byte {
	code := strings.TrimRight(strings.TrimPrefix(secret, "whsec_"), "=")
	if key := fromBase64(code + strings.Repeat("=", (4-len(code)%4)%4)); len(key) > 0 {
		return key
	}
	return nil
}

// fromBase64 returns nil for a text that is not strictly base64.
func fromBase64(code string) []byte {
	found, err := base64.StdEncoding.DecodeString(code)
	// The decoder skips line breaks.
	if err != nil || strings.ContainsAny(code, "\r\n") {
		return nil
	}
	return found
}

// fromHex returns nil for a text that is not hexadecimal in lower case.
func fromHex(code string) []byte {
	found, err := hex.DecodeString(code)
	if err != nil || strings.ToLower(code) != code {
		return nil
	}
	return found
}

func seconds(written string) (time.Time, bool) {
	// Enough until the year 5138. Without this, ParseUint would accept a sign or an underscore in other bases.
	if written == "" || len(written) > 11 || strings.Trim(written, "0123456789") != "" {
		return time.Time{}, false
	}
	count, err := strconv.ParseInt(written, 10, 64)
	return time.Unix(count, 0).UTC(), err == nil
}

// clamp keeps seconds within what time.Duration can hold.
func clamp(count int64) int64 {
	const most = math.MaxInt64 / int64(time.Second)
	return max(-most, min(count, most))
}
