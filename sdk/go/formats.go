package hookhub

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"strings"
	"time"
)

var verifiers = map[Format]func(*request) (*Received, error){
	"standard-webhooks":  inEnvelope("type", "data"),
	"cloudevents":        inEnvelope("type", "specversion", "id", "source", "data"),
	"mcp-event":          inEnvelope("name", "eventId", "data"),
	"cloudevents-binary": (*request).verifyCloudEventsBinary,
	"coregit":            (*request).verifyCoregit,
	"code-storage":       (*request).verifyCodeStorage,
	"codmir":             (*request).verifyCodmir,
	"websub":             (*request).verifyWebSub,
	"sigmagit":           (*request).verifySigmagit,
	"github":             inRawBody("x-hub-signature-256", "x-github-event"),
	"social-gateway":     inRawBody("x-hub-signature-256", "x-socialgateway-event"),
}

var codedSecrets = map[Format]bool{
	"standard-webhooks": true, "cloudevents": true, "cloudevents-binary": true, "mcp-event": true,
}

// inEnvelope verifies requests signed as Standard Webhooks are, whose type is a field of the body.
func inEnvelope(typeIn string, needs ...string) func(*request) (*Received, error) {
	return func(r *request) (*Received, error) {
		id, timestamp, err := r.verifyStandard()
		if err != nil {
			return nil, err
		}
		fields, eventType, err := envelope(r.body, typeIn, needs...)
		if err != nil {
			return nil, err
		}
		return &Received{Type: eventType, ID: id, Timestamp: timestamp, Data: fields["data"]}, nil
	}
}

// inRawBody verifies requests that sign the raw body, JSON or a form, and whose type is a header.
func inRawBody(signature, typeIn string) func(*request) (*Received, error) {
	return func(r *request) (*Received, error) {
		// The legacy X-Hub-Signature (SHA-1) is sent as well and adds no assurance.
		if err := r.verifyRawBody(signature, "sha256"); err != nil {
			return nil, err
		}
		eventType, err := r.header(typeIn)
		if err != nil {
			return nil, err
		}
		body := r.body
		// Recognize a form by the signed bytes, since Content-Type is not signed. No JSON starts like this.
		if form, isForm := bytes.CutPrefix(body, []byte("payload=")); isForm {
			if bytes.Contains(form, []byte("&")) {
				return nil, invalidBody("the form has fields besides \"payload\"")
			}
			body = fromForm(form)
		}
		return withData(body, Received{Type: eventType})
	}
}

func (r *request) verifyCloudEventsBinary() (*Received, error) {
	id, timestamp, err := r.verifyStandard()
	if err != nil {
		return nil, err
	}
	eventType, err := r.header("ce-type")
	if err != nil {
		return nil, err
	}
	return withData(r.body, Received{Type: eventType, ID: id, Timestamp: timestamp})
}

func (r *request) verifySigmagit() (*Received, error) {
	if err := r.verifyRawBody("x-sigmagit-signature", "sha256"); err != nil {
		return nil, err
	}
	eventType, err := r.header("x-sigmagit-event")
	if err != nil {
		return nil, err
	}
	return withData(r.body, Received{Type: eventType})
}

func (r *request) verifyWebSub() (*Received, error) {
	if err := r.verifyRawBody("x-hub-signature", "sha256", "sha384", "sha512", "sha1"); err != nil {
		return nil, err
	}
	return withData(r.body, Received{})
}

func (r *request) verifyCoregit() (*Received, error) {
	if err := r.verifyRawBody("x-coregit-signature", "sha256"); err != nil {
		return nil, err
	}
	fields, eventType, err := envelope(r.body, "event", "timestamp", "data")
	if err != nil {
		return nil, err
	}
	timestamp, err := r.eventTime(fields["timestamp"])
	if err != nil {
		return nil, err
	}
	return &Received{Type: eventType, Timestamp: timestamp, Data: fields["data"]}, nil
}

func (r *request) verifyCodmir() (*Received, error) {
	if err := r.verifyRawBody("x-codmir-signature", "sha256"); err != nil {
		return nil, err
	}
	fields, eventType, err := envelope(r.body, "type", "id", "timestamp", "data")
	if err != nil {
		return nil, err
	}
	id, isText := text(fields["id"])
	if !isText {
		return nil, invalidBody("\"id\" in the body is not a string")
	}
	timestamp, err := r.eventTime(fields["timestamp"])
	if err != nil {
		return nil, err
	}
	return &Received{Type: eventType, ID: id, Timestamp: timestamp, Data: fields["data"]}, nil
}

// verifyCodeStorage verifies t=<seconds>,sha256=<hex> over t.body, with the messages of Code Storage's SDKs.
func (r *request) verifyCodeStorage() (*Received, error) {
	signature, err := r.header("x-pierre-signature")
	if err != nil {
		return nil, err
	}
	eventType, err := r.header("x-pierre-event")
	if err != nil {
		return nil, err
	}
	// The parts may come in any order, without blanks. Of a repeated part the last one counts.
	parts := map[string]string{}
	for _, part := range strings.Split(signature, ",") {
		if name, value, found := strings.Cut(part, "="); found {
			parts[name] = value
		}
	}
	if parts["t"] == "" || parts["sha256"] == "" {
		return nil, &VerificationError{"malformed_header", "Invalid signature header format"}
	}
	timestamp, isTime := seconds(parts["t"])
	if !isTime {
		return nil, &VerificationError{"malformed_header", "Invalid timestamp in signature"}
	}
	// Whole seconds, the resolution of the header's timestamp.
	age := time.Duration(clamp(r.Now.Unix()-timestamp.Unix())) * time.Second
	if r.Tolerance > 0 && age > r.Tolerance {
		return nil, &VerificationError{"wrong_time", fmt.Sprintf("Webhook timestamp too old (%.0f seconds)", age.Seconds())}
	}
	if r.Tolerance > 0 && age < -maxClockSkew {
		return nil, &VerificationError{"wrong_time", "Webhook timestamp is in the future"}
	}
	signed := append([]byte(parts["t"]+"."), r.body...)
	if err := demandMatch(r.textKeys(), [][]byte{fromHex(parts["sha256"])}, signed, sha256.New); err != nil {
		return nil, err
	}
	return withData(r.body, Received{Type: eventType, Timestamp: timestamp})
}

// verifyStandard verifies v1,<base64> signatures over id.timestamp.body.
func (r *request) verifyStandard() (id string, timestamp time.Time, err error) {
	if id, err = r.header("webhook-id"); err != nil {
		return "", time.Time{}, err
	}
	sent, err := r.header("webhook-timestamp")
	if err != nil {
		return "", time.Time{}, err
	}
	signatures, err := r.header("webhook-signature")
	if err != nil {
		return "", time.Time{}, err
	}
	var claimed [][]byte
	for _, each := range strings.FieldsFunc(signatures, func(letter rune) bool { return strings.ContainsRune(whiteSpace, letter) }) {
		if code, isKnown := strings.CutPrefix(each, "v1,"); isKnown && len(claimed) < maxSignatures {
			claimed = append(claimed, fromBase64(code))
		}
	}
	var keys [][]byte
	for _, secret := range r.Secrets {
		keys = append(keys, keyOf(secret))
	}
	if err := demandMatch(keys, claimed, append([]byte(id+"."+sent+"."), r.body...), sha256.New); err != nil {
		return "", time.Time{}, err
	}
	timestamp, isTime := seconds(sent)
	if !isTime {
		return "", time.Time{}, &VerificationError{"malformed_header", "The webhook-timestamp header is not a Unix timestamp."}
	}
	if age := r.Now.Sub(timestamp); r.Tolerance > 0 && age.Abs() > r.Tolerance {
		message := fmt.Sprintf("The signature is valid, but the request was signed %.0f seconds ago.", age.Seconds())
		return "", time.Time{}, &VerificationError{"wrong_time", message}
	}
	return id, timestamp, nil
}

// verifyRawBody verifies <algorithm>=<hex> over the raw body; the key is the secret's text.
func (r *request) verifyRawBody(name string, algorithms ...string) error {
	hashes := map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New}
	value, err := r.header(name)
	if err != nil {
		return err
	}
	for _, algorithm := range algorithms {
		if code, found := strings.CutPrefix(value, algorithm+"="); found {
			return demandMatch(r.textKeys(), [][]byte{fromHex(code)}, r.body, hashes[algorithm])
		}
	}
	message := fmt.Sprintf("The %s header must start with '%s='.", name, strings.Join(algorithms, "=' or '"))
	return &VerificationError{"malformed_header", message}
}
