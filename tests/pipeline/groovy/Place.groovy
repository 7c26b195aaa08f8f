/** Where a thread is: its stage, its workspace, and the variables that withEnv has set. */
class Place {
  String stage = ''
  File workspace
  Map<String, String> variables = [:]
}
