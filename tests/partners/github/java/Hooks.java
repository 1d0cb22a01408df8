import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.kohsuke.github.GHEvent;
import org.kohsuke.github.GHHook;
import org.kohsuke.github.GHRepository;
import org.kohsuke.github.GitHub;
import org.kohsuke.github.HttpException;

/**
 * Drives the hooks of a repository with hub4j, as far as it knows them.
 *
 * <p>Its arguments are the server's address, a key and a receiver's address. It writes a line "deliver" and waits for
 * an answer wherever deliveries have to be sent, and at its end all that it saw, as one line of JSON.
 */
class Hooks {
    /** A key that nobody has. */
    static final String STRANGER = "hh_000000000000_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    interface Call {
        void make() throws IOException;
    }

    static List<Object> refusal(Call call) throws IOException {
        try {
            call.make();
        } catch (HttpException | org.kohsuke.github.GHFileNotFoundException error) {
            String message = error.getMessage();
            int status = error instanceof HttpException refused ? refused.getResponseCode() : 404;
            Map<?, ?> body = new ObjectMapper().readValue(message.substring(message.indexOf('{')), Map.class);
            return Arrays.asList(status, body.get("message"));
        }
        throw new AssertionError("not refused");
    }

    static List<Long> ids(GHRepository repository) throws IOException {
        List<Long> found = new ArrayList<>();
        for (GHHook hook : repository.getHooks()) found.add(hook.getId());
        return found;
    }

    public static void main(String[] args) throws Exception {
        String url = args[0] + "/api/v3", key = args[1], receiver = args[2];
        BufferedReader answers = new BufferedReader(new InputStreamReader(System.in));
        GitHub client = GitHub.connectToEnterpriseWithOAuth(url, null, key);
        Map<String, Object> saw = new TreeMap<>();

        client.checkApiUrlValidity();
        saw.put("valid", client.isCredentialValid());
        saw.put("login", client.getMyself().getLogin());
        saw.put("limits", Arrays.asList(client.getRateLimit().getCore().getLimit(), client.lastRateLimit().getCore().getLimit()));
        saw.put("since", client.getMyself().getCreatedAt().getTime() / 1000);
        saw.put("organization", client.getOrganization("octocat").getUrl().toString());
        saw.put("user", client.getUser("octocat").getType());
        GHRepository repository = client.getRepository("octocat/Hello-World");
        saw.put("repository", Arrays.asList(repository.getFullName(), repository.getOwner().getLogin(), repository.hasAdminAccess()));

        Map<String, String> config = Map.of("url", receiver, "content_type", "json", "secret", "It's a Secret");
        GHHook made = repository.createHook("web", config, EnumSet.of(GHEvent.PUSH), true);
        saw.put("made", Arrays.asList(made.getName(), made.isActive(), made.getEvents().toString(), new TreeMap<>(made.getConfig())));
        saw.put("at", made.getCreatedAt().getTime() / 1000);
        GHHook other = repository.createWebHook(new java.net.URL(receiver + "/2"), EnumSet.of(GHEvent.ALL));
        saw.put("all", other.getEvents().toString());
        saw.put("ids", Arrays.asList(made.getId(), other.getId()));
        saw.put("listed", ids(repository));
        saw.put("found", repository.getHook((int) made.getId()).getUrl().equals(made.getUrl()));

        made.ping();
        System.out.println("deliver");
        answers.readLine();

        saw.put("missing", refusal(() -> client.getRepository("octocat/nowhere")));
        saw.put("invalid", refusal(() -> repository.createHook("web", Map.of("content_type", "json"), null, true)));
        saw.put("stranger", refusal(() -> GitHub.connectToEnterpriseWithOAuth(url, null, STRANGER).getMyself()));

        other.delete();
        repository.deleteHook((int) made.getId());
        saw.put("left", ids(repository).size());
        System.out.println(new ObjectMapper().writeValueAsString(saw));
    }
}
