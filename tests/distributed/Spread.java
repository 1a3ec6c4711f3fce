import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/** A job of Flink's own classes: deals 1,000 numbers out to every slot. Arguments: host, port, parallelism. */
class Spread {
  public static void main(String[] arguments) throws Exception {
    var cluster = StreamExecutionEnvironment.createRemoteEnvironment(arguments[0], Integer.parseInt(arguments[1]));
    cluster.setParallelism(Integer.parseInt(arguments[2]));
    cluster.fromSequence(1, 1000).rebalance().sinkTo(new DiscardingSink<>());
    cluster.execute();
  }
}
